"""From a registered version to a release: gates, approvals, stages and the ledger that remembers them.

Nothing here is imported before it is used: the words are light, the doors need MLflow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.downloads import download
    from registry.errors import (
        LedgerBroken,
        ModelUnusable,
        PolicyInvalid,
        PromotionRefused,
        RegistryError,
        RegistryMisconfigured,
        RegistryUnreachable,
        ReleaseMissing,
        ReleaseTampered,
        VersionMissing,
    )
    from registry.intervals import of_mean, wilson
    from registry.licences import licences_of, required
    from registry.mlflow_store import Connection, connect, register_candidate
    from registry.policy_faults import line_of, not_yaml, said_twice, together
    from registry.releases import release
    from registry.rows import SEEN, row_digests, seen_rows
    from registry.scan import harms
    from registry.words import (
        Actor,
        Approval,
        Decision,
        Evidence,
        FileDigest,
        ModelVersion,
        Outcome,
        Release,
        Stage,
        Verdict,
    )

_HOME = {
    "registry.errors": (
        "LedgerBroken", "ModelUnusable", "PolicyInvalid", "PromotionRefused", "RegistryError", "RegistryMisconfigured",
        "RegistryUnreachable", "ReleaseMissing", "ReleaseTampered", "VersionMissing",
    ),
    "registry.mlflow_store": ("Connection", "connect", "register_candidate"),
    "registry.downloads": ("download",),
    "registry.intervals": ("of_mean", "wilson"),
    "registry.licences": ("licences_of", "required"),
    "registry.policy_faults": ("line_of", "not_yaml", "said_twice", "together"),
    "registry.releases": ("release",),
    "registry.rows": ("SEEN", "row_digests", "seen_rows"),
    "registry.scan": ("harms",),
    "registry.words": (
        "Actor", "Approval", "Decision", "Evidence", "FileDigest", "ModelVersion", "Outcome", "Release", "Stage",
        "Verdict",
    ),
}  # fmt: skip

__all__ = [
    "SEEN",
    "Actor",
    "Approval",
    "Connection",
    "Decision",
    "Evidence",
    "FileDigest",
    "LedgerBroken",
    "ModelUnusable",
    "ModelVersion",
    "Outcome",
    "PolicyInvalid",
    "PromotionRefused",
    "RegistryError",
    "RegistryMisconfigured",
    "RegistryUnreachable",
    "Release",
    "ReleaseMissing",
    "ReleaseTampered",
    "Stage",
    "Verdict",
    "VersionMissing",
    "connect",
    "download",
    "harms",
    "licences_of",
    "line_of",
    "not_yaml",
    "of_mean",
    "register_candidate",
    "release",
    "required",
    "row_digests",
    "said_twice",
    "seen_rows",
    "together",
    "wilson",
]


def __getattr__(name: str) -> object:
    for module, names in _HOME.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'registry' has no attribute {name!r}")
