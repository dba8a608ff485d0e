"""What things are called in S3, whatever the target. Pure."""

from __future__ import annotations

from collections.abc import Sequence

DEPLOYMENTS = "deployments/"
TARGETS = ("lambda", "sagemaker")


def release_prefix(model: str, digest: str) -> str:
    """Under which S3 prefix does all that belongs to a release lie?"""
    return f"releases/{model}/{digest}"


def bundle_prefix(model: str, digest: str, bundle: str) -> str:
    """Under which S3 prefix does a bundle lie? ``bundle`` is the SHA-256 of its manifest."""
    return f"{release_prefix(model, digest)}/bundles/{bundle}"


def journal_prefix(model: str, target: str) -> str:
    """Under which S3 prefix does the journal of a model's deployments to a target lie?"""
    return f"{DEPLOYMENTS}{model}/{target}/"


def deployed_models(keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Which models were ever deployed, and to which targets? Read from the keys of their journals."""
    found: dict[str, set[str]] = {}
    for key in keys:
        _, model, target, *_ = key.split("/")
        found.setdefault(model, set()).add(target)
    return {model: tuple(sorted(targets)) for model, targets in sorted(found.items())}
