"""What is found when a deployment is looked at from the outside, whatever the target."""

from __future__ import annotations

from dataclasses import dataclass

from .aws import Aws


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, was it as it should be, and what was found?"""

    what: str
    right: bool
    found: str


def stored(aws: Aws, bucket: str, key: str, sha256: str, what: str) -> Finding:
    """Does S3 hold these bytes under this key, by its own checksum?"""
    found = aws.storage.object(bucket, key)
    if found and found.composite:  # S3 knows no SHA-256 of the whole, and what was written beside it proves nothing
        return same(what, aws.storage.sha256(bucket, key), sha256)
    return same(what, found.sha256 if found else "missing", sha256)


def as_said(aws: Aws, bucket: str, key: str, sha256: str, what: str) -> Finding:
    """The same without fetching it: of an object that came in parts, whoever put it there is believed."""
    found = aws.storage.object(bucket, key)
    return same(what, found.sha256 if found else "missing", sha256)


def same(what: str, found: str, wanted: str) -> Finding:
    """Is what was found what was wanted? Digests are cut to the twelve digits that people compare."""
    if found == wanted:
        return Finding(what, True, found[:12])
    return Finding(what, False, f"{found[:12]}; wanted {wanted[:12]}")
