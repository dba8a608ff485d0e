"""Where moto accepts what AWS refuses: every replaced method of moto, with its reason and the version it is for.

moto is pinned to 5.2.5 in pyproject.toml; a new version is taken only after each of these has been looked at again.
"""

from __future__ import annotations

import base64
import hashlib
import re
import shlex
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from moto.applicationautoscaling.models import ApplicationAutoscalingBackend
from moto.cloudwatch.models import Statistics
from moto.core.request import Request
from moto.core.responses import ActionResult
from moto.logs.utils import EventMessageFilter
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeMultipart
from moto.s3.responses import S3Response
from moto.s3.utils import compute_checksum

from serving.localaws import statistics
from serving.localaws.account import ACCOUNT
from serving.localaws.errors import AwsError, LocalAwsError

MOTO = "5.2.5"

_ALGORITHMS = ("SHA256", "SHA1", "CRC32")  # those that this machine can compute without optional libraries
_OWNER_HEADERS = ("x-amz-expected-bucket-owner", "x-amz-source-expected-bucket-owner")
_PREFIX = "x-amz-checksum-"
_TRAILER = re.compile(rb"x-amz-checksum-(\w+):([A-Za-z0-9+/=]+)")


class BadDigest(S3ClientError):
    """S3's refusal of bytes that are not those that were announced."""

    code = "BadDigest"
    status_code = 400

    def __init__(self, algorithm: str) -> None:
        super().__init__("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def install() -> None:
    """Put the replacements in place; a second call changes nothing.

    Raises:
        LocalAwsError: Another moto is installed than the one they are written for.
    """
    import moto

    if moto.__version__ != MOTO:
        raise LocalAwsError(
            f"the local AWS is written for moto {MOTO}, found {moto.__version__}. Next: pip install moto=={MOTO}"
        )
    S3Response._get_checksum = _checked_checksum  # type: ignore[method-assign]
    S3Response.list_parts = _parts_with_checksums  # type: ignore[method-assign]
    S3Response.head_object = _composite_in_full  # type: ignore[method-assign]
    S3Response.list_multipart_uploads = _uploads_with_their_time  # type: ignore[method-assign]
    FakeMultipart.__init__ = _begun_now  # type: ignore[method-assign]
    ApplicationAutoscalingBackend.deregister_scalable_target = _with_its_policies  # type: ignore[method-assign]
    Statistics.get_statistics_for_type = _with_all_statistics  # type: ignore[method-assign]
    EventMessageFilter.matches = _with_optional_terms  # type: ignore[method-assign]


def stranger(request: Request) -> AwsError | None:
    """S3's refusal of a request that expects the bucket to be somebody else's; moto 5.2.5 does not look.

    Not a replaced method: the front door asks before it hands a request to moto.
    """
    expected = [request.headers.get(name) for name in _OWNER_HEADERS]
    if all(owner in (None, ACCOUNT) for owner in expected):
        return None
    return AwsError("AccessDenied", "Access Denied", status=403)


_matches, _statistic = EventMessageFilter.matches, Statistics.get_statistics_for_type
_list_uploads, _begin = S3Response.list_multipart_uploads, FakeMultipart.__init__
_list_parts, _head_object = S3Response.list_parts, S3Response.head_object
_deregister = ApplicationAutoscalingBackend.deregister_scalable_target


def _with_all_statistics(self: Statistics, stat: str) -> Any:
    """Replaces ``Statistics.get_statistics_for_type``, which knows no percentiles, ranks and counts (5.2.5)."""
    if stat in statistics.PLAIN or not statistics.known(stat):
        return _statistic(self, stat)
    return statistics.statistic(stat, [statistics.point(datum) for datum in self.metric_data])


def _with_optional_terms(self: EventMessageFilter, message: str) -> bool:
    """Replaces ``EventMessageFilter.matches``, for which every line has one of ``?"these" ?terms`` (5.2.5)."""
    pattern = self.filter_type.term
    if not pattern.startswith("?"):
        return _matches(self, message)
    return any(term.removeprefix("?") in message for term in shlex.split(pattern))


def _with_its_policies(self: ApplicationAutoscalingBackend, namespace: str, r_id: str, dimension: str) -> None:
    """Replaces ``deregister_scalable_target``, which leaves the target's policies and their alarms (5.2.5)."""
    _deregister(self, namespace, r_id, dimension)
    for policy in list(self.policies.values()):
        if (policy.service_namespace, policy.resource_id, policy.scalable_dimension) == (namespace, r_id, dimension):
            self.delete_scaling_policy(policy.policy_name, namespace, r_id, dimension)


def _composite_in_full(self: S3Response, *args: Any, **named: Any) -> Any:
    """Replaces ``S3Response.head_object``, which leaves out how many parts a composite checksum is of (5.2.5)."""
    status, headers, body = _head_object(self, *args, **named)
    if headers.get("x-amz-checksum-type") == "COMPOSITE":
        count = str(headers["ETag"]).strip('"').rpartition("-")[2]
        for name in [name for name in headers if name.removeprefix(_PREFIX).upper() in _ALGORITHMS]:
            headers[name] = f"{headers[name].partition('-')[0]}-{count}"
    return status, headers, body


def _begun_now(self: FakeMultipart, *args: Any, **named: Any) -> None:
    """Replaces ``FakeMultipart.__init__``, which does not note when an upload began (5.2.5)."""
    _begin(self, *args, **named)
    self.begun = datetime.now(UTC)  # type: ignore[attr-defined]  # ours, read below


def _uploads_with_their_time(self: S3Response) -> Any:
    """Replaces ``S3Response.list_multipart_uploads``, to which every upload began in 2010 (5.2.5)."""
    known = self.backend.get_bucket(self.bucket_name).multiparts

    def timed(content: Any) -> None:
        for upload in content.get("Uploads") or ():
            upload["Initiated"] = getattr(known[upload["UploadId"]], "begun", upload["Initiated"])

    return _amended(self, _list_uploads, timed)


def _amended(self: S3Response, answer: Callable[[S3Response], Any], amend: Callable[[Any], None]) -> Any:
    """What moto answers, changed before it is put into words."""
    told = self.serialized

    def serialized(result: ActionResult) -> Any:
        amend(result.result)
        return told(result)

    self.serialized = serialized  # type: ignore[method-assign, assignment]  # for this one answer
    try:
        return answer(self)
    finally:
        del self.serialized  # the method of the class again


def _parts_with_checksums(self: S3Response) -> Any:
    """Replaces ``S3Response.list_parts``, which tells no checksums (5.2.5); a resumed upload lives by them."""
    def checked(content: Any) -> None:
        upload = self.backend.get_bucket(self.bucket_name).multiparts[content["UploadId"]]
        algorithm = upload.metadata.get("x-amz-checksum-algorithm")
        if algorithm in _ALGORITHMS:
            for part in content["Parts"]:
                value = compute_checksum(upload.parts[part["PartNumber"]].value, algorithm).decode()
                part[f"Checksum{algorithm}"] = value

    return _amended(self, _list_parts, checked)


def _checked_checksum(self: S3Response, response_headers: dict[str, Any]) -> tuple[str, str | None]:
    """Replaces ``S3Response._get_checksum``, which believes whatever checksum a client sends (5.2.5).

    It also sees a checksum sent without ``x-amz-sdk-checksum-algorithm``, which moto overlooks, so that HeadObject
    never returned it.
    """
    announced = _announced(self)
    algorithm = self.headers.get("x-amz-sdk-checksum-algorithm", "").upper()
    md5 = self.headers.get("Content-MD5")
    if md5 is not None and md5 != _md5(self.body or b""):
        raise BadDigest("Content-MD5")
    if announced is not None:
        algorithm, value = announced
        if algorithm in _ALGORITHMS and _computed(self, algorithm) != value:
            raise BadDigest(algorithm)
    elif algorithm:
        value = _computed(self, algorithm)
    else:
        return "", None
    response_headers[f"x-amz-checksum-{algorithm.lower()}"] = value
    return algorithm, value


def _announced(response: S3Response) -> tuple[str, str] | None:
    """The checksum that the client sent, as a header or behind a streamed body."""
    sent = {
        name.lower().removeprefix(_PREFIX).upper(): str(value)
        for name, value in response.headers.items()
        if name.lower().startswith(_PREFIX)
    }
    found = [(name, value) for name, value in sent.items() if name not in ("MODE", "ALGORITHM", "TYPE")]
    if len(found) > 1:
        raise S3ClientError(
            "InvalidRequest", "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        )
    if found:
        return found[0]
    if response.headers.get("x-amz-trailer"):
        trailer = _TRAILER.search(response.raw_body[-512:])
        if trailer:
            return trailer[1].decode().upper(), trailer[2].decode()
    return None


def _computed(response: S3Response, algorithm: str) -> str:
    return compute_checksum(response.body or b"", algorithm).decode()


def _md5(content: bytes) -> str:
    return base64.b64encode(hashlib.md5(content, usedforsecurity=False).digest()).decode()
