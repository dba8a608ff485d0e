"""With --auth, what is not signed with a secret that the account knows is refused, in each service's own words."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from serving.localaws import running
from tests.localaws.conftest import BUCKET, ROLE, client_for, zipped


@pytest.fixture(scope="module")
def strict() -> Iterator[dict[str, str]]:
    with running("--auth") as environment:
        yield environment


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:  # noqa: S310 - our own
        body: bytes = answer.read()
        return body


SERVICES = ["s3", "lambda", "sagemaker", "iam", "logs", "cloudwatch", "sts", "kms"]
ASK: dict[str, tuple[str, dict[str, Any]]] = {
    "s3": ("list_objects_v2", {"Bucket": BUCKET, "Prefix": "a b/é+", "Delimiter": "/"}),
    "lambda": ("list_functions", {}),
    "sagemaker": ("list_models", {}),
    "iam": ("list_roles", {}),
    "logs": ("describe_log_groups", {}),
    "cloudwatch": ("describe_alarms", {}),
    "sts": ("get_caller_identity", {}),
    "kms": ("list_aliases", {}),
}


def ask(environment: dict[str, str], service: str) -> Any:
    method, params = ASK[service]
    return getattr(client_for(environment, service), method)(**params)


@pytest.mark.parametrize("service", SERVICES)
def test_a_right_signature_is_let_in_and_a_wrong_secret_is_not(strict: dict[str, str], service: str) -> None:
    ask(strict, service)
    for wrong, code in (
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "SignatureDoesNotMatch|InvalidSignatureException"),
        ({"AWS_ACCESS_KEY_ID": "AKIANOBODY"}, "InvalidAccessKeyId|InvalidClientTokenId|UnrecognizedClientException"),
    ):
        with pytest.raises(ClientError, match=code) as caught:
            ask({**strict, **wrong}, service)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_a_body_that_was_changed_on_the_way_is_refused(strict: dict[str, str]) -> None:
    s3 = client_for(strict, "s3")

    def tamper(request: Any, **_: Any) -> None:
        request.body = b"those"

    s3.put_object(Bucket=BUCKET, Key="signed/é ü+.txt", Body=b"these")
    s3.meta.events.register("before-send.s3.PutObject", tamper)
    with pytest.raises(ClientError, match=r"XAmzContentSHA256Mismatch|BadDigest"):
        s3.put_object(Bucket=BUCKET, Key="signed/é ü+.txt", Body=b"these")
    assert client_for(strict, "s3").get_object(Bucket=BUCKET, Key="signed/é ü+.txt")["Body"].read() == b"these"


def test_a_presigned_address_works_until_it_is_changed(strict: dict[str, str]) -> None:
    s3 = client_for(strict, "s3")
    s3.put_object(Bucket=BUCKET, Key="signed/a b", Body=b"1")
    url = boto3.client(
        "s3", endpoint_url=strict["AWS_ENDPOINT_URL"], region_name="us-east-1", aws_access_key_id="local",
        aws_secret_access_key="local", config=boto3.session.Config(signature_version="s3v4"),
    ).generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "signed/a b"})  # fmt: skip
    assert fetched(url) == b"1"
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetched(url.replace("signed/a%20b", "signed/a%20c"))
    assert caught.value.code == 403


def test_a_request_without_a_signature_is_refused(strict: dict[str, str]) -> None:
    with pytest.raises(urllib.error.HTTPError) as caught:
        fetched(f"{strict['AWS_ENDPOINT_URL']}/{BUCKET}")
    assert caught.value.code == 403


def test_a_role_that_was_assumed_is_known_and_so_is_what_a_function_runs_as(
    strict: dict[str, str], runtime: str
) -> None:
    given = client_for(strict, "sts").assume_role(RoleArn=ROLE, RoleSessionName="test")["Credentials"]
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
    endpoint = strict["AWS_ENDPOINT_URL"]
    assert session.client("sts", endpoint_url=endpoint, region_name="us-east-1").get_caller_identity()["Account"]
    source = (
        "import boto3\ndef handler(event, context):\n    return boto3.client('sts').get_caller_identity()['Account']\n"
    )
    lambdas = client_for(strict, "lambda")
    lambdas.create_function(FunctionName="who", Runtime=runtime, Role=ROLE, Handler="main.handler", Timeout=20,
                            Code={"ZipFile": zipped({"main.py": source})})  # fmt: skip
    assert lambdas.invoke(FunctionName="who")["Payload"].read() == b'"123456789012"'
