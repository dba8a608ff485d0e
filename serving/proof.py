"""What is found when a deployment is looked at from the outside, whatever the target."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from .aws import Aws
from .errors import AwsMissing
from .runtime import manifest as manifests


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


def bundle_stored(aws: Aws, bucket: str, prefix: str, sha256: str) -> Finding:
    """Does S3 hold every file of a bundle as it was shipped? ``sha256`` is of its manifest, which tells the others'."""
    what = "bundle in S3"
    try:
        told = aws.storage.read(bucket, f"{prefix}/{manifests.NAME}")
    except AwsMissing:
        return Finding(what, False, f"{manifests.NAME}: missing")
    found = same(what, hashlib.sha256(told).hexdigest(), sha256)
    if not found.right:
        return Finding(what, False, f"{manifests.NAME}: {found.found}")
    files = manifests.parse(told).files
    looked = [stored(aws, bucket, f"{prefix}/{file.path}", file.sha256, file.path) for file in files]
    wrong = [f"{one.what}: {one.found}" for one in looked if not one.right]
    return Finding(what, not wrong, "; ".join(wrong) or f"{len(files)} files")


def as_said(aws: Aws, bucket: str, key: str, sha256: str, what: str) -> Finding:
    """The same without fetching it: of an object that came in parts, whoever put it there is believed."""
    found = aws.storage.object(bucket, key)
    return same(what, found.sha256 if found else "missing", sha256)


def same(what: str, found: str, wanted: str) -> Finding:
    """Is what was found what was wanted? Digests are cut to the twelve digits that people compare."""
    if found == wanted:
        return Finding(what, True, found[:12])
    return Finding(what, False, f"{found[:12]}; wanted {wanted[:12]}")
