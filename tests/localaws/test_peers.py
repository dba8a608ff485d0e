"""The same laws of AWS held against every emulator at hand; where one is known to differ, players.py says so."""

from __future__ import annotations

import base64
import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import zipped
from tests.localaws.peers import Peer
from tests.localaws.players import BUCKET, Account


def code_of(call: Callable[..., Any], **params: Any) -> str:
    """The error code with which a call is refused."""
    with pytest.raises(ClientError) as caught:
        call(**params)
    code: str = caught.value.response["Error"]["Code"]
    return code


def digest(content: bytes) -> str:
    """A SHA-256 as S3 writes it."""
    return base64.b64encode(hashlib.sha256(content).digest()).decode()


def test_a_wrong_checksum_is_refused(account: Account) -> None:
    wrong = {"Bucket": BUCKET, "Key": "wrong", "Body": b"these", "ChecksumSHA256": digest(b"those")}
    assert code_of(account("s3").put_object, **wrong) == "BadDigest"


def test_a_given_checksum_is_told(account: Account) -> None:
    s3 = account("s3")
    s3.put_object(Bucket=BUCKET, Key="sum", Body=b"these", ChecksumSHA256=digest(b"these"))
    assert s3.head_object(Bucket=BUCKET, Key="sum", ChecksumMode="ENABLED")["ChecksumSHA256"] == digest(b"these")


def test_a_key_is_created_only_once(account: Account) -> None:
    put = {"Bucket": BUCKET, "Key": uuid.uuid4().hex, "Body": b"1", "IfNoneMatch": "*"}
    account("s3").put_object(**put)
    assert code_of(account("s3").put_object, **put) == "PreconditionFailed"


def test_a_missing_key_is_missing(account: Account) -> None:
    assert code_of(account("s3").get_object, Bucket=BUCKET, Key="never") == "NoSuchKey"
    assert code_of(account("s3").head_object, Bucket=BUCKET, Key="never") == "404"


def test_an_older_version_can_be_read(account: Account) -> None:
    s3 = account("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=BUCKET, Key="versions", Body=b"1")["VersionId"]
    s3.put_object(Bucket=BUCKET, Key="versions", Body=b"2")
    assert s3.get_object(Bucket=BUCKET, Key="versions", VersionId=first)["Body"].read() == b"1"
    assert s3.get_object(Bucket=BUCKET, Key="versions")["Body"].read() == b"2"


def test_a_wrong_secret_is_refused(account: Account) -> None:
    endpoint = account("s3").meta.endpoint_url
    other = boto3.client(
        "s3", endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="local", aws_secret_access_key="wrong"
    )
    assert code_of(other.list_objects_v2, Bucket=BUCKET) == "SignatureDoesNotMatch"


WHO = "import os\ndef handler(event, context):\n    return os.environ['AWS_LAMBDA_FUNCTION_VERSION']\n"


@pytest.fixture
def function(peer: tuple[str, Peer | None, Account], account: Account, runtime: str) -> Iterator[str]:
    """A function with two published versions."""
    lambdas, iam, name = account("lambda"), account("iam"), f"f-{uuid.uuid4().hex[:8]}"
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=policy)["Role"]["Arn"]
    lambdas.create_function(
        FunctionName=name,
        Runtime=runtime,
        Role=role,
        Handler="main.handler",
        Code={"ZipFile": zipped({"main.py": WHO})},
    )
    lambdas.publish_version(FunctionName=name)
    lambdas.update_function_configuration(FunctionName=name, MemorySize=256)
    lambdas.publish_version(FunctionName=name)
    yield name
    lambdas.delete_function(FunctionName=name)


ON_LAMBDA = pytest.mark.usefixtures("function")


@ON_LAMBDA
def test_a_version_is_published_only_after_a_change(account: Account, function: str) -> None:
    assert account("lambda").publish_version(FunctionName=function)["Version"] == "2"


@ON_LAMBDA
def test_a_stale_revision_is_refused(account: Account, function: str) -> None:
    lambdas, stale = account("lambda"), str(uuid.uuid4())
    code = zipped({"main.py": WHO + "# changed\n"})
    params = {"FunctionName": function, "ZipFile": code, "RevisionId": stale}
    assert code_of(lambdas.update_function_code, **params) == "PreconditionFailedException"
    lambdas.create_alias(FunctionName=function, Name="live", FunctionVersion="1")
    move = {"FunctionName": function, "Name": "live", "FunctionVersion": "2", "RevisionId": stale}
    assert code_of(lambdas.update_alias, **move) == "PreconditionFailedException"


@ON_LAMBDA
def test_a_wrong_code_hash_is_not_published(account: Account, function: str) -> None:
    lambdas = account("lambda")
    lambdas.update_function_configuration(FunctionName=function, MemorySize=512)
    params = {"FunctionName": function, "CodeSha256": digest(b"other")}
    assert code_of(lambdas.publish_version, **params) == "InvalidParameterValueException"


@ON_LAMBDA
def test_code_that_is_not_in_s3_is_refused(account: Account, function: str) -> None:
    params = {"FunctionName": function, "S3Bucket": BUCKET, "S3Key": "never.zip"}
    assert code_of(account("lambda").update_function_code, **params) == "InvalidParameterValueException"


@ON_LAMBDA
def test_a_qualifier_chooses_the_version(account: Account, function: str) -> None:
    lambdas = account("lambda")
    answers = [lambdas.invoke(FunctionName=function, Qualifier=version) for version in ("1", "2")]
    assert [json.loads(answer["Payload"].read()) for answer in answers] == ["1", "2"]
    assert [answer["ExecutedVersion"] for answer in answers] == ["1", "2"]


@ON_LAMBDA
def test_weights_share_the_traffic(account: Account, function: str) -> None:
    lambdas = account("lambda")
    routing = {"AdditionalVersionWeights": {"2": 0.5}}
    lambdas.create_alias(FunctionName=function, Name="live", FunctionVersion="1", RoutingConfig=routing)
    seen = Counter(lambdas.invoke(FunctionName=function, Qualifier="live")["ExecutedVersion"] for _ in range(40))
    assert 5 < seen["2"] < 35


@ON_LAMBDA
def test_an_alias_to_a_missing_version_is_refused(account: Account, function: str) -> None:
    params = {"FunctionName": function, "Name": "live", "FunctionVersion": "9"}
    assert code_of(account("lambda").create_alias, **params) == "ResourceNotFoundException"


@ON_LAMBDA
def test_a_function_that_fails_says_so_in_the_header(account: Account, function: str) -> None:
    lambdas = account("lambda")
    code = zipped({"main.py": "def handler(event, context):\n    raise ValueError('no good')\n"})
    lambdas.update_function_code(FunctionName=function, ZipFile=code)
    answer = lambdas.invoke(FunctionName=function)
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
    assert json.loads(answer["Payload"].read())["errorType"] == "ValueError"


@ON_LAMBDA
def test_a_layer_is_on_the_path(account: Account, function: str) -> None:
    lambdas = account("lambda")
    layer = lambdas.publish_layer_version(
        LayerName=function, Content={"ZipFile": zipped({"python/part.py": "NAME = 7\n"})}
    )
    code = zipped({"main.py": "import part\ndef handler(event, context):\n    return part.NAME\n"})
    lambdas.update_function_code(FunctionName=function, ZipFile=code)
    lambdas.update_function_configuration(FunctionName=function, Layers=[layer["LayerVersionArn"]])
    assert json.loads(lambdas.invoke(FunctionName=function)["Payload"].read()) == 7


@ON_LAMBDA
def test_a_runtime_that_does_not_exist_is_refused(account: Account, function: str) -> None:
    params = {"FunctionName": function, "Runtime": "python9.9"}
    assert code_of(account("lambda").update_function_configuration, **params) == "InvalidParameterValueException"
