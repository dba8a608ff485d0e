"""Every call that the commands make is allowed by the policies that `slipway iam` prints, and nothing there is idle.

The calls are recorded by the local AWS; what AWS asks of a policy for each is in `needing`. Emulated: AWS itself
evaluates more than this.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from serving import Aws, Bundle, Settings, build, prune
from serving.aws.multipart import PART, THRESHOLD
from serving.config import CanarySettings
from serving.errors import AwsConflict, GoldenFailed
from serving.execution import execute
from serving.golden import Golden, read_golden
from serving.iam import TARGETS, policy
from serving.localaws import running
from serving.package import digest
from serving.runtime.core import GOLDEN
from serving.target import Target
from serving.targets import open_target
from serving.targets.sagemaker.batch import Batch
from serving.targets.sagemaker.batch import run as run_batch
from serving.targets.sagemaker.steps import AskGolden
from serving.withdraw import withdraw
from tests.iam.needing import ACCOUNT, Recorded, allows, needs, refused
from tests.serving.conftest import network_files, release_of
from tests.serving.recorded import forget, told
from tests.serving.test_deploy import environment, slip
from tests.serving.test_prune import release

__all__ = ["network_files"]  # a fixture
PEOPLE = ("publisher", "deployer", "pruner")
POLICIES = {(role, target): policy(role, target, Settings(), ACCOUNT).statements
            for role in PEOPLE for target in TARGETS}
BOTH, DEPLOYER, PUBLISHER, PRUNER = ("publisher", "deployer"), ("deployer",), ("publisher",), ("pruner",)
BUCKET = "slipway-123456789012-us-east-1"
IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway-server:0.1"
ASKED = f"s3://{BUCKET}/batch/asked/"
CANARY = CanarySettings(shares=(0.5, 1.0), least=1, patience=5)


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
        def during(roles: tuple[str, ...], what: Callable[..., Any], *given: Any) -> None:
            forget()
            what(*given)
            found.extend(Recorded(roles, name, **call) for call in told())

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
