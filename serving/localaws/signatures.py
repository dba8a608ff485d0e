"""Was this request signed with a secret that the account knows? Signature Version 4, by botocore's own signer.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import io
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, urlsplit

from botocore.auth import S3SigV4Auth, S3SigV4QueryAuth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from moto.core.request import Request

from serving.localaws.errors import AwsError

Secrets = Callable[[str], str | None]

_HEADER = re.compile(
    r"AWS4-HMAC-SHA256\s+Credential=(?P<key>[^/]+)/(?P<scope>[^,]+),\s*SignedHeaders=(?P<names>[^,]+),"
    r"\s*Signature=(?P<signature>[0-9a-f]{64})"
)
_HEX = re.compile(r"[0-9a-f]{64}")
_AGE = timedelta(minutes=15)


def verify(request: Request, secret_of: Secrets, now: datetime) -> AwsError | None:
    """AWS's refusal of a request that is not signed, or wrongly; None when it is signed as it must be.

    Args:
        request: As it came, path and query still encoded.
        secret_of: The secret of an access key; None for one that does not exist.
        now: Against which the request's date is held.
    """
    # Signing covers the body, so it is read here; whoever answers has to find it there again.
    request.environ["wsgi.input"] = io.BytesIO(request.get_data())
    query = dict(parse_qsl(request.query_string.decode(), keep_blank_values=True))
    if "X-Amz-Signature" in query:
        return _presigned(request, query, secret_of, now)
    found = _HEADER.match(request.headers.get("Authorization", ""))
    if found is None:
        return AwsError("MissingAuthenticationToken", "Missing Authentication Token", status=403)
    secret = secret_of(found["key"])
    if secret is None:
        return _unknown(found["scope"])
    stamp = request.headers.get("X-Amz-Date", "")
    if not _fresh(stamp, now, _AGE):
        return AwsError("RequestTimeTooSkewed", f"The request's date {stamp} is too far from now.", status=403)
    announced = request.headers.get("X-Amz-Content-SHA256", "")
    if _HEX.fullmatch(announced) and hashlib.sha256(request.get_data()).hexdigest() != announced:
        return AwsError("XAmzContentSHA256Mismatch", "The provided x-amz-content-sha256 does not match what came.")
    expected = _expected(request, found["names"].split(";"), Credentials(found["key"], secret), found["scope"], stamp)
    return None if hmac.compare_digest(expected, found["signature"]) else _wrong(found["scope"])


def _expected(request: Request, names: list[str], credentials: Credentials, scope: str, stamp: str) -> str:
    _, region, service, _ = scope.split("/")
    headers = {name: request.headers.get(name, "") for name in names}
    if "content-length" in names:
        headers["content-length"] = request.environ.get("CONTENT_LENGTH", "")
    signed = AWSRequest(request.method, _url(request, dict), data=request.get_data(), headers=headers)
    signed.context["timestamp"] = stamp
    if announced := request.headers.get("X-Amz-Content-SHA256"):
        signed.headers["X-Amz-Content-SHA256"] = announced
    signer = (S3SigV4Auth if service == "s3" else SigV4Auth)(credentials, service, region)
    canonical = "\n".join(
        [
            request.method,
            signer._normalize_url_path(urlsplit(signed.url).path),
            signer.canonical_query_string(signed),
            _canonical_headers(headers),
            ";".join(names),
            announced or hashlib.sha256(request.get_data()).hexdigest(),
        ]
    )
    signature: str = signer.signature(signer.string_to_sign(signed, canonical), signed)
    return signature


def _presigned(request: Request, query: dict[str, str], secret_of: Secrets, now: datetime) -> AwsError | None:
    key, _, scope = query.get("X-Amz-Credential", "").partition("/")
    secret = secret_of(key)
    if secret is None:
        return _unknown(scope)
    stamp, lasts = query.get("X-Amz-Date", ""), timedelta(seconds=int(query.get("X-Amz-Expires", "0")))
    if not _fresh(stamp, now, lasts):
        return AwsError("AccessDenied", "Request has expired", status=403)
    _, region, service, _ = scope.split("/")
    names = query.get("X-Amz-SignedHeaders", "host").split(";")
    headers = {name: request.headers.get(name, "") for name in names}
    signed = AWSRequest(request.method, _url(request, _without_signature), headers=headers)
    signed.context["timestamp"] = stamp
    signer = S3SigV4QueryAuth(Credentials(key, secret), service, region)
    canonical = "\n".join(
        [
            request.method,
            signer._normalize_url_path(urlsplit(signed.url).path),
            signer.canonical_query_string(signed),
            _canonical_headers(headers),
            ";".join(names),
            "UNSIGNED-PAYLOAD",
        ]
    )
    expected = signer.signature(signer.string_to_sign(signed, canonical), signed)
    return None if hmac.compare_digest(expected, query["X-Amz-Signature"]) else _wrong(scope)


def _canonical_headers(headers: dict[str, str]) -> str:
    return "".join(f"{name}:{' '.join(str(value).split())}\n" for name, value in headers.items())


def _without_signature(query: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in query.items() if name != "X-Amz-Signature"}


def _url(request: Request, kept: Callable[[dict[str, str]], dict[str, str]]) -> str:
    raw = urlsplit(str(request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or request.full_path))
    query = kept(dict(parse_qsl(raw.query, keep_blank_values=True)))
    encoded = "&".join(f"{quote(name, safe='-_.~')}={quote(value, safe='-_.~')}" for name, value in query.items())
    return f"http://{request.headers.get('Host', '')}{raw.path}" + (f"?{encoded}" if encoded else "")


def _fresh(stamp: str, now: datetime, age: timedelta) -> bool:
    try:
        made = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return False
    return made - _AGE <= now <= made + age


def _unknown(scope: str) -> AwsError:
    if scope.split("/")[2:3] == ["s3"]:
        return AwsError("InvalidAccessKeyId", "The AWS Access Key Id you provided does not exist in our records.",
                        status=403)  # fmt: skip
    code = "InvalidClientTokenId" if scope.split("/")[2:3] in (["iam"], ["sts"]) else "UnrecognizedClientException"
    return AwsError(code, "The security token included in the request is invalid.", status=403)


def _wrong(scope: str) -> AwsError:
    other = scope.split("/")[2:3] not in (["s3"], ["iam"], ["sts"])
    code = "InvalidSignatureException" if other else "SignatureDoesNotMatch"
    return AwsError(
        code,
        "The request signature we calculated does not match the signature you provided. Check your key and signing "
        "method.",
        status=403,
    )
