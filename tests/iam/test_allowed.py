"""Every call that the commands make is allowed by the policies that `slipway iam` prints, and nothing there is idle.

The calls are recorded by the local AWS; what AWS asks of a policy for each is in `needs`, by the Service Authorization
Reference and the pages that name further permissions (Lambda: code from S3, layers, roles; S3: SSE-KMS). Emulated: AWS
itself evaluates more than this.
"""

from __future__ import annotations

import json
import re
import shutil
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import pytest

from serving import Aws, Bundle, Settings, build
from serving.aws.multipart import PART, THRESHOLD
from serving.config import CanarySettings
from serving.errors import AwsConflict
from serving.execution import execute
from serving.golden import read_golden
from serving.iam import Account, Statement, policy
from serving.localaws import running
from serving.package import digest
from serving.runtime.core import GOLDEN
from serving.targets.lambda_.target import LambdaTarget
from tests.serving.conftest import network_files, release_of
from tests.serving.test_deploy import environment, slip

__all__ = ["network_files"]  # a fixture
ACCOUNT = Account("123456789012", "us-east-1")
POLICIES = {role: policy(role, "lambda", Settings(), ACCOUNT).statements for role in ("publisher", "deployer")}
BOTH, DEPLOYER, PUBLISHER = ("publisher", "deployer"), ("deployer",), ("publisher",)
KEY = ACCOUNT.arn("kms", "key/0f0f")
BY_S3 = {"kms:ViaService": "s3.us-east-1.amazonaws.com", "kms:ResourceAliases": "alias/slipway"}


@dataclass(frozen=True)
class Need:
    """What a call must be allowed."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """A call, and the roles of whoever made it."""

    roles: tuple[str, ...]
    service: str
    operation: str
    status: int
    path: str
    body: dict[str, Any]


def allows(statements: Sequence[Statement], need: Need) -> bool:
    """Does one of the statements allow it?"""
    return any(_matches(one, need) for one in statements)


def _matches(statement: Statement, need: Need) -> bool:
    held = all(need.context.get(one.key) in one.values for one in statement.conditions)
    return (held and need.action in statement.actions
            and any(fnmatchcase(need.resource, arn) for arn in statement.resources))


def needs(call: Recorded) -> list[Need]:
    """What must be allowed for this call?

    Raises:
        KeyError: nobody has said so yet.
    """
    if call.service == "sts":
        return []  # GetCallerIdentity needs no permission
    if call.service == "s3":
        return _s3(call)
    if call.service == "logs":
        return [Need("logs:FilterLogEvents", ACCOUNT.arn("logs", f"log-group:{call.body['logGroupName']}"))]
    if call.service == "cloudwatch":
        return [Need(f"cloudwatch:{call.operation}", "*")]
    return _lambda(call)


S3_ACTIONS = {
    "HeadObject": "GetObject", "GetObject": "GetObject", "PutObject": "PutObject", "ListObjectsV2": "ListBucket",
    "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject", "CompleteMultipartUpload": "PutObject",
    "ListMultipartUploads": "ListBucketMultipartUploads", "ListParts": "ListMultipartUploadParts",
    "AbortMultipartUpload": "AbortMultipartUpload",
}
DECRYPTS = {"GetObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
ENCRYPTS = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}


def _s3(call: Recorded) -> list[Need]:
    bucket, _, key = unquote(urlsplit(call.path).path).removeprefix("/").partition("/")
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    found = [Need(f"s3:{S3_ACTIONS[call.operation]}", resource)]
    if call.status == 404:  # who may not list is told 403 instead
        found.append(Need("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    elif call.operation in DECRYPTS:
        found.append(Need("kms:Decrypt", KEY, BY_S3))
    if call.operation in ENCRYPTS:
        found.append(Need("kms:GenerateDataKey", KEY, BY_S3))
    return found


def _lambda(call: Recorded) -> list[Need]:
    parts, query = urlsplit(call.path).path.split("/"), parse_qs(urlsplit(call.path).query)
    body = call.body
    if call.operation == "ListLayerVersions":
        return [Need("lambda:ListLayerVersions", "*")]
    if call.operation == "GetLayerVersionByArn":
        return [Need("lambda:GetLayerVersion", query["Arn"][0])]
    if call.operation == "PublishLayerVersion":
        return [Need("lambda:PublishLayerVersion", ACCOUNT.arn("lambda", f"layer:{parts[3]}")), *_code(body["Content"])]
    name = body["FunctionName"] if call.operation == "CreateFunction" else parts[3]
    action = {"Invoke": "InvokeFunction", "GetFunctionConfiguration20150331v2": "GetFunctionConfiguration"}.get(
        call.operation, re.sub(r"\d{8}(v\d)?$", "", call.operation))
    found = [Need(f"lambda:{action}", ACCOUNT.arn("lambda", f"function:{name}"))]
    found += [Need("lambda:GetLayerVersion", layer) for layer in body.get("Layers", ())]
    if "Role" in body:
        found.append(Need("iam:PassRole", body["Role"], {"iam:PassedToService": "lambda.amazonaws.com"}))
    return found + _code(body.get("Code", body))


def _code(place: Mapping[str, Any]) -> list[Need]:
    """Lambda fetches code with the caller's permissions."""
    if "S3Key" not in place:
        return []
    return [Need("s3:GetObject", f"arn:aws:s3:::{place['S3Bucket']}/{place['S3Key']}"), Need("kms:Decrypt", KEY, BY_S3)]


def bundles_of(files: Path, into: Path) -> list[Bundle]:
    """The same network twice, as two releases."""
    other = Path(shutil.copytree(files, into / "other"))
    (other / "note.txt").write_text("trained again")
    return [build(release_of(each), each, into / f"bundle-{n}") for n, each in enumerate((files, other))]


def deploy(bundle: Bundle, scratch: Path, settings: Settings) -> None:
    """As `slipway deploy` does, without a registry."""
    target = LambdaTarget(Aws(), settings)
    golden = read_golden(bundle.folder / GOLDEN)
    probes = [{"instances": [row.tolist()]} for row in golden.inputs["image"]]
    scratch.mkdir()
    plan = target.plan(bundle, scratch, lambda line: None)
    execute(plan, Aws(), target.hands(golden, probes), lambda step, took: None)


def upload_a_large_file(folder: Path) -> None:
    """One that was cut off and is gone on with; and once more, where it lies already."""
    file, bucket, key = folder / "large", "slipway-123456789012-us-east-1", "releases/images/x/large"
    with file.open("wb") as out:
        out.truncate(THRESHOLD + PART)
    s3 = boto3.client("s3")
    s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    aws = Aws()
    aws.storage.create_object(bucket, key, file, digest(file))
    with pytest.raises(AwsConflict):
        aws.storage.create_object(bucket, key, file, digest(file))


@pytest.fixture(scope="module")
def recorded(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Recorded]]:
    """What each command asked of AWS."""
    home = tmp_path_factory.mktemp("allowed")
    found: list[Recorded] = []
    first, second = bundles_of(network_files, home)
    canary = CanarySettings(shares=(0.5, 1.0), least=1, patience=5)
    careful = Settings.model_validate({"lambda": {"canary": canary.model_dump(), "memory": 512}})
    body = json.dumps({"instances": read_golden(first.folder / GOLDEN).inputs["image"].tolist()}).encode()

    with running() as variables, environment(**variables, MLFLOW_TRACKING_URI=f"sqlite:///{home}/none.db"):
        def calls(method: str) -> Any:
            request = urllib.request.Request(  # noqa: S310 - the local AWS's own address
                f"{variables['AWS_ENDPOINT_URL']}/_slipway/calls", method=method)
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
                return json.load(answer)

        def during(roles: tuple[str, ...], what: Callable[[], Any]) -> None:
            calls("DELETE")
            what()
            found.extend(Recorded(roles, **call) for call in calls("GET"))

        during(BOTH, lambda: deploy(first, home / "first", Settings()))
        during(BOTH, lambda: deploy(second, home / "second", careful))
        for words in (["rollback"], ["status"], ["verify"], ["logs"], ["invoke", "--file", "-"]):
            during(DEPLOYER, lambda words=words: command(words, body))  # type: ignore[misc]  # bound at once
        during(DEPLOYER, lambda: deploy(second, home / "again", careful))  # all of it is published already
        during(PUBLISHER, lambda: upload_a_large_file(home))
    yield found


def command(words: list[str], body: bytes) -> None:
    done = slip(words[0], "images", *words[1:], stdin=body)
    assert done.exit_code == 0, (words, done.output, done.exception)


def refused(calls: Sequence[Recorded], policies: Mapping[str, Sequence[Statement]]) -> list[str]:
    """Which calls do these policies not allow to those who made them?"""
    return [f"{call.operation} {call.path}: {need.action} on {need.resource}" for call in calls for need in needs(call)
            if not allows([one for role in call.roles for one in policies[role]], need)]


def test_every_call_is_allowed(recorded: list[Recorded]) -> None:
    assert len(recorded) > 100
    assert refused(recorded, POLICIES) == []


@pytest.mark.parametrize(("role", "sid"), [(role, one.sid) for role, held in POLICIES.items() for one in held])
def test_no_statement_can_be_left_out(recorded: list[Recorded], role: str, sid: str) -> None:
    left = {**POLICIES, role: [one for one in POLICIES[role] if one.sid != sid]}
    assert refused(recorded, left)


@pytest.mark.parametrize("role", POLICIES)
def test_no_action_is_allowed_that_no_command_needs(recorded: list[Recorded], role: str) -> None:
    used = {need.action for call in recorded if role in call.roles for need in needs(call)}
    assert {action for one in POLICIES[role] for action in one.actions} - used == set()


@pytest.mark.parametrize(("role", "call"), [
    ("publisher", Recorded((), "lambda", "UpdateAlias", 200, "/2015-03-31/functions/slipway-images/aliases/x", {})),
    ("deployer", Recorded((), "lambda", "UpdateAlias", 200, "/2015-03-31/functions/other/aliases/x", {})),
    ("deployer", Recorded((), "s3", "PutObject", 200, "/slipway-123456789012-us-east-1/releases/images/x", {})),
    ("deployer", Recorded((), "s3", "GetObject", 200, "/somebodys/releases/images/x", {})),
])
def test_what_is_not_a_roles_business_is_refused(role: str, call: Recorded) -> None:
    assert not allows(POLICIES[role], needs(call)[0])
