"""S3: create-only keys, checksums that S3 verifies, and only in a bucket of the right owner."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from ..errors import AwsConflict, AwsFailed, AwsMissing
from . import multipart
from .multipart import Sent, UploadState
from .session import client, mapped

_BLOCK = 1 << 20
_DELETED_AT_ONCE = 1000  # keys of one DeleteObjects, Amazon S3 API reference, read 2026-11


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What lies under one S3 key?

    Attributes:
        sha256: of the whole, hexadecimal, as S3 computed it; of an object that came in parts S3 knows none, and this
            is what whoever put it there says it is. Empty when nobody says anything.
        composite: of an object that came in parts: the checksum of the parts' checksums, as S3 computed it.
        part: of such an object: the size of its parts.
    """

    size: int
    sha256: str
    composite: str = ""
    part: int = 0

    def is_file(self, path: Path, sha256: str) -> bool:
        """Are these the bytes of this file, whose SHA-256 is known? Proven by what S3 computed; nothing is fetched."""
        if self.sha256 != sha256 or self.size != path.stat().st_size:
            return False
        return not self.composite or (self.part > 0 and self.composite == multipart.composite(path, self.part))


class Storage:
    """S3 as this project uses it.

    Args:
        owner: gives the account that must own every bucket.
        kms_key: the KMS key that encrypts what is put there; None leaves it to the bucket's own default.
    """

    def __init__(self, owner: Callable[[], str], kms_key: str | None = None) -> None:
        self._owner = owner
        self._encryption: dict[str, Any] = {
            "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key, "BucketKeyEnabled": True} if kms_key else {}
        self._unchanging: dict[tuple[str, str], bytes] = {}

    def object(self, bucket: str, key: str) -> ObjectState | None:
        """What lies under this key? None when nothing does."""
        with contextlib.suppress(AwsMissing), mapped(f"s3:HeadObject {bucket}/{key}"):
            head = self._s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED",
                                        ExpectedBucketOwner=self._owner())
            checksum, size = head.get("ChecksumSHA256", ""), int(head["ContentLength"])
            if "-" not in checksum:
                return ObjectState(size, base64.b64decode(checksum).hex())
            said = head.get("Metadata") or {}
            part = said.get("part-size", "")
            return ObjectState(size, said.get("sha256", ""), checksum, int(part) if part.isdecimal() else 0)
        return None

    def create_object(self, bucket: str, key: str, path: Path, sha256: str, *,
                      sent: Sent = lambda count: None) -> None:
        """Put a file under a key that must still be free; S3 verifies its bytes.

        A large one goes in parts, several at once; one that was cut off is gone on with. Each byte is hashed once more
        at most: a small file's known SHA-256 is sent, and S3 refuses other bytes.

        Args:
            bucket, key: where.
            path: the file.
            sha256: of the whole, hexadecimal.
            sent: told how many bytes have arrived, as they do; from several threads.

        Raises:
            AwsConflict: something lies there already.
        """
        where = {"Bucket": bucket, "Key": key, "ExpectedBucketOwner": self._owner()}
        size = path.stat().st_size
        if size > multipart.THRESHOLD:
            self._create_large(where, path, sha256, sent)
            return
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with mapped(f"s3:PutObject {bucket}/{key}"), path.open("rb") as body:
            self._s3.put_object(**where, **self._encryption, Body=body, IfNoneMatch="*", ChecksumSHA256=checksum)
        sent(size)

    def _create_large(self, where: dict[str, str], path: Path, sha256: str, sent: Sent) -> None:
        said = {"sha256": sha256, "part-size": str(multipart.Parts.of(path.stat().st_size).size)}
        try:
            multipart.upload(self._s3, where, path, sent=sent, options={"Metadata": said, **self._encryption})
        except AwsConflict:
            multipart.abort(self._s3, where)
            raise
        except AwsMissing:  # completed already, and the answer was lost: asked again, S3 knows no such upload
            there = self.object(where["Bucket"], where["Key"])
            if there is None or not there.is_file(path, sha256):
                raise

    def sha256(self, bucket: str, key: str) -> str:
        """What is the SHA-256 of what lies there? Fetches it, in constant memory.

        Raises:
            AwsMissing: nothing does.
            AwsFailed: it could not be fetched whole.
        """
        import hashlib

        found = hashlib.sha256()
        for block in self._blocks(bucket, key):
            found.update(block)
        return found.hexdigest()

    def fetch(self, bucket: str, key: str, path: Path) -> None:
        """Write what lies under this key to a file, in constant memory.

        Raises:
            AwsMissing: nothing does.
            AwsFailed: it could not be fetched whole.
        """
        with path.open("wb") as file:
            for block in self._blocks(bucket, key):
                file.write(block)

    def _blocks(self, bucket: str, key: str) -> Iterator[bytes]:
        with mapped(f"s3:GetObject {bucket}/{key}"):
            body = self._s3.get_object(Bucket=bucket, Key=key, ExpectedBucketOwner=self._owner())["Body"]
            yield from body.iter_chunks(_BLOCK)

    def create_bytes(self, bucket: str, key: str, body: bytes) -> None:
        """Put bytes under a key that must still be free; S3 verifies their SHA-256.

        Raises:
            AwsConflict: something lies there already.
        """
        with mapped(f"s3:PutObject {bucket}/{key}"):
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ChecksumAlgorithm="SHA256",
                                ExpectedBucketOwner=self._owner(), **self._encryption)

    def delete(self, bucket: str, keys: Sequence[str]) -> None:
        """Delete what lies under these keys; a key that is gone already is no fault.

        Raises:
            AwsFailed: some of it is still there; the first fault that S3 names is named.
        """
        for start in range(0, len(keys), _DELETED_AT_ONCE):
            batch = [{"Key": key} for key in keys[start : start + _DELETED_AT_ONCE]]
            with mapped(f"s3:DeleteObjects {bucket}"):
                done = self._s3.delete_objects(Bucket=bucket, Delete={"Objects": batch, "Quiet": True},
                                               ExpectedBucketOwner=self._owner())
            if failed := done.get("Errors"):
                first = failed[0]
                raise AwsFailed(f"s3:DeleteObjects {bucket}: {len(failed)} of {len(batch)} are still there: "
                                f"{first.get('Key')}: {first.get('Message')}", code=str(first.get("Code", "")))

    def unfinished(self, bucket: str, prefix: str) -> list[UploadState]:
        """Which uploads in parts were begun under this prefix and never completed?"""
        return multipart.unfinished(
            self._s3, {"Bucket": bucket, "Prefix": prefix, "ExpectedBucketOwner": self._owner()})

    def abort(self, bucket: str, key: str, number: str) -> None:
        """Let S3 forget an upload that was not completed; one that is gone already is no fault."""
        with contextlib.suppress(AwsMissing), mapped(f"s3:AbortMultipartUpload {bucket}/{key}"):
            self._s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=number,
                                            ExpectedBucketOwner=self._owner())

    def keys(self, bucket: str, prefix: str) -> tuple[str, ...]:
        """Which keys start like this, in their order?"""
        with mapped(f"s3:ListObjectsV2 {bucket}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=self._owner())
            return tuple(entry["Key"] for page in pages for entry in page.get("Contents", ()))

    def page(self, bucket: str, prefix: str, after: str = "") -> tuple[tuple[str, ...], bool]:
        """Which keys after this one start like this, in their order, as many as one answer holds; are there more?"""
        with mapped(f"s3:ListObjectsV2 {bucket}/{prefix}"):
            found = self._s3.list_objects_v2(Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=self._owner(),
                                             **({"StartAfter": after} if after else {}))
            return tuple(entry["Key"] for entry in found.get("Contents", ())), bool(found["IsTruncated"])

    def read(self, bucket: str, key: str) -> bytes:
        """What lies under this key?

        Raises:
            AwsMissing: nothing does.
        """
        with mapped(f"s3:GetObject {bucket}/{key}"):
            body: bytes = self._s3.get_object(Bucket=bucket, Key=key, ExpectedBucketOwner=self._owner())["Body"].read()
            return body

    def read_unchanging(self, bucket: str, keys: Sequence[str]) -> list[bytes]:
        """What lies under these keys, which nobody writes twice? Each is fetched once, several at a time.

        Raises:
            AwsMissing: nothing lies under one of them.
        """
        new = [key for key in keys if (bucket, key) not in self._unchanging]
        for key, body in zip(new, self._readers.map(partial(self.read, bucket), new), strict=True):
            self._unchanging[bucket, key] = body
        return [self._unchanging[bucket, key] for key in keys]

    @cached_property
    def _readers(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(multipart.AT_ONCE, "slipway-read")

    @cached_property
    def _s3(self) -> Any:
        # The payload's signature would be a second SHA-256 of every byte; the checksum, which is a signed header, says
        # the same.
        # Whoever reads many models at once asks beside the readers, hence twice.
        connections = 2 * multipart.AT_ONCE
        return client("s3", s3={"payload_signing_enabled": False}, max_pool_connections=connections)
