"""What things are called in S3, whatever the target. Pure."""

from __future__ import annotations

from collections.abc import Iterable

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


def entry_key(prefix: str, number: int) -> str:
    """Under which S3 key does the entry of a journal with this number lie?"""
    return f"{prefix}{number:06}.json"


def entry_number(key: str) -> int | None:
    """Which number has the entry under this key? None when it is no entry's key."""
    name = key.rpartition("/")[2].removesuffix(".json")
    return int(name) if name.isdecimal() else None


def after_journal(key: str) -> str:
    """After which key do the journals begin that come after the one this entry is in?"""
    return key.rpartition("/")[0] + chr(ord("/") + 1)


def deployed_models(keys: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Which models were ever deployed, and to which targets? Read from the keys of their journals."""
    found: dict[str, set[str]] = {}
    for key in keys:
        _, model, target, *_ = key.split("/")
        found.setdefault(model, set()).add(target)
    return {model: tuple(sorted(targets)) for model, targets in sorted(found.items())}
