"""Large files on their way to S3: in parts, several at once, gone on with after a kill, in constant memory.

S3 knows no SHA-256 of an object that came in parts, only the composite: the SHA-256 of the parts' SHA-256, and how many
there were (Amazon S3 User Guide, "Checking object integrity", read 2026-11). Whoever has the file can compute it again,
so that is how bytes in S3 are proven to be these without fetching them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from ..errors import AwsFailed
from .session import mapped

# Amazon S3 multipart upload limits, read 2026-11: parts of 5 MiB to 5 GiB, at most 10,000 of them.
MOST_PARTS = 10_000
PART = 16 << 20
# Below this a single request is as fast, and S3 verifies the SHA-256 of the whole.
THRESHOLD = 64 << 20
AT_ONCE = 4

Sent = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Parts:
    """How is a file cut? All parts are of one size but the last."""

    total: int
    size: int

    @property
    def count(self) -> int:
        """How many parts are there?"""
        return -(-self.total // self.size)

    def span(self, number: int) -> tuple[int, int]:
        """Where does a part begin, and how long is it? Parts are numbered from 1, as S3 does."""
        start = (number - 1) * self.size
        return start, min(self.size, self.total - start)

    @classmethod
    def of(cls, total: int) -> Parts:
        """How is a file of this size cut?"""
        least = -(-total // MOST_PARTS)
        return cls(total, max(PART, -(-least // (1 << 20)) << 20))


def composite(path: Path, size: int) -> str:
    """What is the composite SHA-256 of this file, cut in parts of this size, as S3 writes it?"""
    parts = Parts(path.stat().st_size, size)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(lambda number: _checksum(_read(path, *parts.span(number))), range(1, parts.count + 1)))
    return _composed(found)


def upload(s3: Any, where: Mapping[str, str], path: Path, *, options: Mapping[str, Any], sent: Sent) -> str:
    """Put a file in parts under a key that must still be free; give its composite checksum, which S3 verified.

    An upload of the same key that was cut off is gone on with: what S3 holds of it with the right SHA-256 is not sent
    again.

    Args:
        s3: a client that signs no payloads; each part's checksum, which is signed, says what it is.
        where: Bucket, Key and ExpectedBucketOwner.
        path: the file.
        options: what else CreateMultipartUpload is told.
        sent: told how many bytes have arrived, as they do; from several threads.

    Raises:
        AwsConflict: something lies there already.
    """
    parts = Parts.of(path.stat().st_size)
    name = f"{where['Bucket']}/{where['Key']}"
    number, held = _begun(s3, where, parts)
    if number is None:
        with mapped(f"s3:CreateMultipartUpload {name}"):
            number = s3.create_multipart_upload(**where, **options, ChecksumAlgorithm="SHA256",
                                                ChecksumType="COMPOSITE")["UploadId"]
    sending = _Sending(s3, {**where, "UploadId": number}, path, parts, held, sent)
    done = sending.all()
    with mapped(f"s3:CompleteMultipartUpload {name}"):
        s3.complete_multipart_upload(**where, UploadId=number, IfNoneMatch="*", MpuObjectSize=parts.total,
                                     MultipartUpload={"Parts": done})
    return _composed([part["ChecksumSHA256"] for part in done])


@dataclass(frozen=True, slots=True)
class UploadState:
    """Which upload in parts was begun and not completed? Its parts are paid for, and no list of objects shows it."""

    key: str
    number: str
    began: datetime


def unfinished(s3: Any, where: Mapping[str, str]) -> list[UploadState]:
    """Which uploads were begun and not completed? ``where`` is Bucket, Prefix and ExpectedBucketOwner."""
    with mapped(f"s3:ListMultipartUploads {where['Bucket']}"):
        return [UploadState(found["Key"], found["UploadId"], found["Initiated"])
                for page in s3.get_paginator("list_multipart_uploads").paginate(**where)
                for found in page.get("Uploads") or ()]


def abort(s3: Any, where: Mapping[str, str]) -> None:
    """Let S3 forget every upload of this key that was not completed."""
    with mapped(f"s3:AbortMultipartUpload {where['Bucket']}/{where['Key']}"):
        for number in list(_unfinished(s3, where)):
            s3.abort_multipart_upload(**where, UploadId=number)


def _unfinished(s3: Any, where: Mapping[str, str]) -> Iterator[str]:
    narrowed = {"Bucket": where["Bucket"], "ExpectedBucketOwner": where["ExpectedBucketOwner"], "Prefix": where["Key"]}
    yield from (found.number for found in unfinished(s3, narrowed) if found.key == where["Key"])


def _begun(s3: Any, where: Mapping[str, str], parts: Parts) -> tuple[str | None, dict[int, dict[str, Any]]]:
    """The upload that was cut off, and the parts of it that S3 holds; one that was cut otherwise is of no use."""
    with mapped(f"s3:ListParts {where['Bucket']}/{where['Key']}"):
        for number in _unfinished(s3, where):
            pages = s3.get_paginator("list_parts").paginate(**where, UploadId=number)
            held = {int(part["PartNumber"]): part for page in pages for part in page.get("Parts") or ()}
            if all(n <= parts.count and int(part["Size"]) == parts.span(n)[1] for n, part in held.items()):
                return str(number), held
    return None, {}


@dataclass(slots=True)
class _Sending:
    """The parts of one upload, several at once."""

    s3: Any
    upload: dict[str, str]
    path: Path
    parts: Parts
    held: dict[int, dict[str, Any]]
    sent: Sent

    def all(self) -> list[dict[str, Any]]:
        """Send what S3 does not hold; give what CompleteMultipartUpload wants to know of each part."""
        with ThreadPoolExecutor(AT_ONCE) as pool:
            sending = [pool.submit(self._one, number) for number in range(1, self.parts.count + 1)]
            try:
                wait(sending, return_when=FIRST_EXCEPTION)
            finally:  # after a failure or Ctrl-C nothing more is sent; the next run goes on from there
                pool.shutdown(cancel_futures=True)
        failed = next((f.exception() for f in sending if f.done() and not f.cancelled() and f.exception()), None)
        if failed:
            raise failed
        return [future.result() for future in sending]

    def _one(self, number: int) -> dict[str, Any]:
        start, size = self.parts.span(number)
        body = _read(self.path, start, size)
        checksum, held = _checksum(body), self.held.get(number, {})
        if held.get("ChecksumSHA256") == checksum:
            tag = held["ETag"]
        else:
            with mapped(f"s3:UploadPart {self.upload['Bucket']}/{self.upload['Key']} {number}"):
                tag = self.s3.upload_part(**self.upload, PartNumber=number, Body=body, ChecksumSHA256=checksum)["ETag"]
        self.sent(size)
        return {"PartNumber": number, "ETag": tag, "ChecksumSHA256": checksum}


def _read(path: Path, start: int, size: int) -> bytearray:
    body = bytearray(size)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        view, got = memoryview(body), 0
        while got < size:
            count = file.readinto(view[got:])
            if not count:
                raise AwsFailed(f"{path.name} became shorter while it was uploaded")
            got += count
    return body


def _checksum(body: bytearray) -> str:
    return base64.b64encode(hashlib.sha256(body).digest()).decode()


def _composed(checksums: list[str]) -> str:
    whole = hashlib.sha256(b"".join(base64.b64decode(c) for c in checksums)).digest()
    return f"{base64.b64encode(whole).decode()}-{len(checksums)}"
