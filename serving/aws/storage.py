"""S3: create-only keys, checksums that S3 verifies, and only in a bucket of the right owner."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import AwsMissing
from .session import client, mapped


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What lies under one S3 key? ``sha256`` is hexadecimal, empty when S3 holds no checksum."""

    size: int
    sha256: str


class Storage:
    """S3 as this project uses it. ``owner`` gives the account that must own every bucket."""

    def __init__(self, owner: Callable[[], str]) -> None:
        self._owner = owner

    def object(self, bucket: str, key: str) -> ObjectState | None:
        """What lies under this key? None when nothing does."""
        with contextlib.suppress(AwsMissing), mapped(f"s3:HeadObject {bucket}/{key}"):
            head = self._s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED",
                                        ExpectedBucketOwner=self._owner())
            checksum = head.get("ChecksumSHA256", "")
            return ObjectState(int(head["ContentLength"]), base64.b64decode(checksum).hex())
        return None

    def create_object(self, bucket: str, key: str, path: Path, sha256: str) -> None:
        """Put a file under a key that must still be free; S3 verifies its SHA-256.

        Raises:
            AwsConflict: something lies there already.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with mapped(f"s3:PutObject {bucket}/{key}"), path.open("rb") as body:
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ChecksumSHA256=checksum,
                                ExpectedBucketOwner=self._owner())

    def create_bytes(self, bucket: str, key: str, body: bytes) -> None:
        """Put bytes under a key that must still be free; S3 verifies their SHA-256.

        Raises:
            AwsConflict: something lies there already.
        """
        with mapped(f"s3:PutObject {bucket}/{key}"):
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ChecksumAlgorithm="SHA256",
                                ExpectedBucketOwner=self._owner())

    def keys(self, bucket: str, prefix: str) -> tuple[str, ...]:
        """Which keys start like this, in their order?"""
        with mapped(f"s3:ListObjectsV2 {bucket}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=self._owner())
            return tuple(entry["Key"] for page in pages for entry in page.get("Contents", ()))

    def read(self, bucket: str, key: str) -> bytes:
        """What lies under this key?

        Raises:
            AwsMissing: nothing does.
        """
        with mapped(f"s3:GetObject {bucket}/{key}"):
            body: bytes = self._s3.get_object(Bucket=bucket, Key=key, ExpectedBucketOwner=self._owner())["Body"].read()
            return body

    @cached_property
    def _s3(self) -> Any:
        return client("s3")
