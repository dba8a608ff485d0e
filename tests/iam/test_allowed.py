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
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import boto3
import numpy as np
import pytest

from serving import Aws, Bundle, Settings, build, prune
from serving.aws.multipart import PART, THRESHOLD
from serving.config import CanarySettings
from serving.errors import AwsConflict, GoldenFailed
from serving.execution import execute
from serving.golden import Golden, read_golden
from serving.iam import TARGETS, Account, Statement, policy
from serving.localaws import running
from serving.package import digest
from serving.runtime.core import GOLDEN
from serving.target import Target
from serving.targets import open_target
from serving.targets.sagemaker.batch import Batch
from serving.targets.sagemaker.batch import run as run_batch
from serving.targets.sagemaker.steps import AskGolden
from serving.withdraw import withdraw
from tests.serving.conftest import network_files, release_of
from tests.serving.test_deploy import environment, slip
from tests.serving.test_prune import release

__all__ = ["network_files"]  # a fixture
ACCOUNT = Account("123456789012", "us-east-1")
PEOPLE = ("publisher", "deployer", "pruner")
POLICIES = {(role, target): policy(role, target, Settings(), ACCOUNT).statements
            for role in PEOPLE for target in TARGETS}
BOTH, DEPLOYER, PUBLISHER, PRUNER = ("publisher", "deployer"), ("deployer",), ("publisher",), ("pruner",)
BUCKET = "slipway-123456789012-us-east-1"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway-server:0.1"
ASKED = f"s3://{BUCKET}/batch/asked/"
CANARY = CanarySettings(shares=(0.5, 1.0), least=1, patience=5)
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
    """A call, and the roles of whoever made it, for which target."""

    roles: tuple[str, ...]
    target: str
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
    if call.service == "iam":  # its parameters are no JSON: GetRole of the target's execution role
        return [Need(f"iam:{call.operation}", f"arn:aws:iam::{ACCOUNT.id}:role/slipway-exec-{call.target}")]
    if call.service == "s3":
        return _s3(call)
    if call.service == "logs":
        return [Need("logs:FilterLogEvents", ACCOUNT.arn("logs", f"log-group:{call.body['logGroupName']}"))]
    if call.service == "application-autoscaling":
        return [Need(f"application-autoscaling:{call.operation}", "*")]  # a target's id is AWS's own
    if call.service == "cloudwatch":
        return [Need(f"cloudwatch:{call.operation}", "*")]
    return _sagemaker(call) if call.service.startswith("sagemaker") else _lambda(call)


S3_ACTIONS = {
    "HeadObject": "GetObject", "GetObject": "GetObject", "PutObject": "PutObject", "ListObjectsV2": "ListBucket",
    "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject", "CompleteMultipartUpload": "PutObject",
    "ListMultipartUploads": "ListBucketMultipartUploads", "ListParts": "ListMultipartUploadParts",
    "AbortMultipartUpload": "AbortMultipartUpload", "DeleteObjects": "DeleteObject",
}
DECRYPTS = {"GetObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
ENCRYPTS = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}


def _s3(call: Recorded) -> list[Need]:
    bucket, _, key = unquote(urlsplit(call.path).path).removeprefix("/").partition("/")
    if call.operation == "DeleteObjects":
        key = "releases/any"  # the keys are in its XML, which is not recorded
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
    if call.operation in ("ListLayerVersions", "ListFunctions"):
        return [Need(f"lambda:{call.operation}", "*")]
    if call.operation == "DeleteLayerVersion":
        return [Need("lambda:DeleteLayerVersion", ACCOUNT.arn("lambda", f"layer:{parts[3]}:{parts[5]}"))]
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


def _sagemaker(call: Recorded) -> list[Need]:
    body, parts = call.body, urlsplit(call.path).path.split("/")
    names = {"endpoint": body.get("EndpointName"), "endpoint-config": body.get("EndpointConfigName"),
             "model": body.get("ModelName")}
    if call.operation in ("InvokeEndpoint", "InvokeEndpointAsync"):
        names = {"endpoint": parts[2]}
    if "TransformJobName" in body:  # the model that it names is no resource of CreateTransformJob
        names = {"transform-job": body["TransformJobName"]}
    if call.operation == "ListEndpointConfigs":
        return [Need("sagemaker:ListEndpointConfigs", "*")]
    found = [Need(f"sagemaker:{call.operation}", ACCOUNT.arn("sagemaker", f"{kind}/{name}"))
             for kind, name in names.items() if name]
    assert found, call
    if "ExecutionRoleArn" in body:
        found.append(Need("iam:PassRole", body["ExecutionRoleArn"], {"iam:PassedToService": "sagemaker.amazonaws.com"}))
    return found


def _code(place: Mapping[str, Any]) -> list[Need]:
    """Lambda fetches code with the caller's permissions."""
    if "S3Key" not in place:
        return []
    return [Need("s3:GetObject", f"arn:aws:s3:::{place['S3Bucket']}/{place['S3Key']}"), Need("kms:Decrypt", KEY, BY_S3)]


def deploy(target: Target, bundle: Bundle, scratch: Path) -> None:
    """As `slipway deploy` does, without a registry."""
    golden = read_golden(bundle.folder / GOLDEN)
    probes = [{"instances": [row.tolist()]} for row in golden.inputs["image"]] if target.name == "lambda" else []
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    plan = target.plan(bundle, scratch, lambda line: None)
    execute(plan, Aws(), target.hands(golden, probes), lambda step, took: None)


def upload_a_large_file(folder: Path) -> None:
    """One that was cut off and is gone on with; and once more, where it lies already."""
    file, bucket, key = folder / "large", BUCKET, "releases/images/x/large"
    with file.open("wb") as out:
        out.truncate(THRESHOLD + PART)
    s3 = boto3.client("s3")
    s3.create_multipart_upload(Bucket=bucket, Key=key, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    aws = Aws()
    aws.storage.create_object(bucket, key, file, digest(file))
    with pytest.raises(AwsConflict):
        aws.storage.create_object(bucket, key, file, digest(file))


@pytest.fixture(scope="module")
def releases(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Bundle]:
    """The same network three times."""
    home = tmp_path_factory.mktemp("releases")
    first = build(release_of(network_files), network_files, home / "first")
    return [first, *(release(first, number, home / str(number)) for number in (4, 5))]


@pytest.fixture(scope="module")
def recorded(releases: list[Bundle], tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Recorded]]:
    """What each command asked of AWS, for each target."""
    home = tmp_path_factory.mktemp("allowed")
    with environment(MLFLOW_TRACKING_URI=f"sqlite:///{home}/none.db"):
        yield [*during_all("lambda", releases, home), *during_all("sagemaker", releases, home)]


def during_all(name: str, releases: list[Bundle], home: Path) -> list[Recorded]:
    """Every command in turn, on a local AWS of its own."""
    found: list[Recorded] = []
    first, second, third = releases
    plain = Settings.model_validate({"sagemaker": {"image": IMAGE}})
    careful = Settings.model_validate({
        "lambda": {"canary": CANARY.model_dump(), "memory": 512},
        "sagemaker": {"image": IMAGE, "alarms": ["errors"], "canary": {"size": 50, "wait": 1}}})
    body = json.dumps({"instances": read_golden(first.folder / GOLDEN).inputs["image"].tolist()}).encode()

    with running("--speed", "100") as variables, environment(**variables):
        def calls(method: str) -> Any:
            request = urllib.request.Request(  # noqa: S310 - the local AWS's own address
                f"{variables['AWS_ENDPOINT_URL']}/_slipway/calls", method=method)
            with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
                return json.load(answer)

        def during(roles: tuple[str, ...], what: Callable[..., Any], *given: Any) -> None:
            calls("DELETE")
            what(*given)
            found.extend(Recorded(roles, name, **call) for call in calls("GET"))

        at_once, watched = (open_target(name, Aws(), settings) for settings in (plain, careful))
        by_hand(name, "alarm")
        during(BOTH, deploy, at_once, first, home / "scratch")
        during(BOTH, deploy, watched, second, home / "scratch")
        for words in (["rollback"], ["status"], ["verify"], ["logs"], ["invoke", "--file", "-"]):
            during(DEPLOYER, command, words, body)
        if name == "sagemaker":
            by_hand(name, "requests")
            during(DEPLOYER, command, ["batch", "--input", ASKED, "--output", f"s3://{BUCKET}/batch/answers"], b"")
            during(DEPLOYER, give_up_waiting)
        during(DEPLOYER, deploy, watched, second, home / "scratch")  # all of it is published already
        by_hand(name, "weight")
        during(DEPLOYER, deploy, watched, second, home / "scratch")
        during(PUBLISHER, upload_a_large_file, home)
        during(BOTH, deploy, at_once, third, home / "scratch")
        layers = [layer["LatestMatchingVersion"]["LayerVersionArn"]
                  for layer in boto3.client("lambda").list_layers()["Layers"]]
        by_hand(name, "ready")
        boto3.client("s3").create_multipart_upload(Bucket=BUCKET, Key="releases/images/x/cut-off")
        during(PRUNER, remove, name, layers, body)
        if name == "sagemaker":  # what answers wrongly and was never in service is deleted
            deploy(at_once, third, home / "scratch")
            during(DEPLOYER, answer_wrongly, at_once)
    return found


def by_hand(target: str, what: str) -> None:
    """What others do meanwhile, which is not recorded: an alarm, a changed weight, requests of a batch."""
    if what == "requests":
        boto3.client("s3").put_object(Bucket=BUCKET, Key="batch/asked/1.json",
                                      Body=json.dumps({"instances": np.zeros((1, 6, 6, 1)).tolist()}))
    if target == "sagemaker" and what == "alarm":
        boto3.client("cloudwatch").put_metric_alarm(
            AlarmName="errors", Namespace="Any", MetricName="Bad", Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=1, ComparisonOperator="GreaterThanThreshold")
    if target == "sagemaker" and what == "weight":
        sagemaker = boto3.client("sagemaker")
        sagemaker.update_endpoint_weights_and_capacities(
            EndpointName="slipway-images",
            DesiredWeightsAndCapacities=[{"VariantName": "production", "DesiredWeight": 2.0}])
        sagemaker.get_waiter("endpoint_in_service").wait(EndpointName="slipway-images", WaiterConfig={"Delay": 1})
    if target == "lambda" and what == "weight":
        surround()
    if target == "lambda" and what == "ready":
        boto3.client("lambda").put_provisioned_concurrency_config(
            FunctionName="slipway-images", Qualifier="production", ProvisionedConcurrentExecutions=1)
        boto3.client("lambda").create_function_url_config(
            FunctionName="slipway-images", Qualifier="production", AuthType="NONE")


def surround() -> None:
    """Somebody sets around the function what slipway.yaml does not say."""
    client, alias = boto3.client("lambda"), {"FunctionName": "slipway-images", "Qualifier": "production"}
    client.put_function_concurrency(FunctionName="slipway-images", ReservedConcurrentExecutions=5)
    client.put_provisioned_concurrency_config(FunctionName="slipway-images", Qualifier="1",
                                              ProvisionedConcurrentExecutions=1)
    client.create_function_url_config(**alias, AuthType="NONE")
    client.add_permission(**alias, StatementId="everybody", Action="lambda:InvokeFunctionUrl", Principal="*",
                          FunctionUrlAuthType="NONE")


def remove(target: str, layers: list[str], body: bytes) -> None:
    """What no kept release needs; a layer, which only other dependencies would leave over; what serves."""
    command(["prune", "--keep", "1", "--yes"], body)
    aws, later = Aws(), datetime.now(UTC) + timedelta(days=2)  # what was cut off in between is given up by then
    given_up = prune.plan(aws, {"images": [target]}, lambda name: open_target(name, aws, Settings()), keep=1,
                          named=True, now=later)
    prune.run(given_up, aws, lambda name: open_target(name, aws, Settings()).hands(Golden({}, {})),
              lambda step, took: None)
    for layer in layers:
        Aws().functions.delete_layer(layer)
    withdraw("images", target, Aws(), Settings())


def give_up_waiting() -> None:
    """Begin a batch and press Ctrl-C."""
    def interrupted(seconds: float) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_batch(Batch("images", ASKED, f"s3://{BUCKET}/batch/answers"), Aws(), Settings(), print, interrupted)


def answer_wrongly(target: Target) -> None:
    wrong = Golden({"image": np.zeros((1, 6, 6, 1), np.float32)}, {"probabilities": np.ones((1, 3), np.float32)})
    with pytest.raises(GoldenFailed):
        target.hands(wrong).do(AskGolden("slipway-images", "", "", first=True))


def command(words: list[str], body: bytes) -> None:
    done = slip(words[0], "images", *words[1:], stdin=body)
    assert done.exit_code == 0, (words, done.output, done.exception)


def refused(calls: Sequence[Recorded], policies: Mapping[tuple[str, str], Sequence[Statement]]) -> list[str]:
    """Which calls do these policies not allow to those who made them?"""
    return [f"{call.operation} {call.path}: {need.action} on {need.resource}" for call in calls for need in needs(call)
            if not allows([one for role in call.roles for one in policies[role, call.target]], need)]


def test_every_call_is_allowed(recorded: list[Recorded]) -> None:
    assert len(recorded) > 100
    assert refused(recorded, POLICIES) == []


@pytest.mark.parametrize(("who", "sid"), [(who, one.sid) for who, held in POLICIES.items() for one in held])
def test_no_statement_can_be_left_out(recorded: list[Recorded], who: tuple[str, str], sid: str) -> None:
    left = {**POLICIES, who: [one for one in POLICIES[who] if one.sid != sid]}
    assert refused(recorded, left)


@pytest.mark.parametrize(("role", "target"), POLICIES)
def test_no_action_is_allowed_that_no_command_needs(recorded: list[Recorded], role: str, target: str) -> None:
    used = {need.action for call in recorded if role in call.roles and call.target == target for need in needs(call)}
    assert {action for one in POLICIES[role, target] for action in one.actions} - used == set()


@pytest.mark.parametrize(("role", "service", "operation", "path"), [
    ("publisher", "lambda", "UpdateAlias", "/2015-03-31/functions/slipway-images/aliases/production"),
    ("deployer", "lambda", "UpdateAlias", "/2015-03-31/functions/other/aliases/production"),
    ("deployer", "lambda", "DeleteFunction", "/2015-03-31/functions/slipway-images"),
    ("deployer", "s3", "PutObject", f"/{BUCKET}/releases/images/x"),
    ("deployer", "s3", "GetObject", "/somebodys/releases/images/x"),
    ("pruner", "s3", "PutObject", f"/{BUCKET}/releases/images/x"),
])
def test_what_is_not_a_roles_business_is_refused(role: str, service: str, operation: str, path: str) -> None:
    call = Recorded((role,), "lambda", service, operation, 200, path, {})
    assert not allows(POLICIES[role, "lambda"], needs(call)[0])
