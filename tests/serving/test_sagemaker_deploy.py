"""An approved version on SageMaker, through the real registry, the local AWS, and the commands that people type.

Emulated: blue/green, alarms and the containers are the local AWS's; they run our own server in real processes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import numpy as np
import pytest

from serving import Aws, Settings
from serving.aws import ModelState, ScalingState
from serving.config import load
from serving.errors import GoldenFailed
from serving.execution import execute
from serving.golden import Golden, read_golden
from serving.iam import template
from serving.plan import Plan
from serving.targets.sagemaker.execution import settled
from serving.targets.sagemaker.steps import AskGolden
from serving.targets.sagemaker.target import SageMakerTarget

from . import recorded
from .lost import registry_lost, typed
from .test_deploy import answer, registered, registry_and_aws, slip
from .test_deploy_proof import BUCKET, by_hand, second_files  # noqa: F401 - the fixture

IMAGE = "123456789012.dkr.ecr.us-east-1.amazonaws.com/slipway-server:0.1"
SLOW_MICROSECONDS = 25_000.0
ENDPOINT, TARGET = "slipway-images", ("--target", "sagemaker")


def configure(**settings: Any) -> None:
    """Write slipway.yaml of the current folder."""
    Path("slipway.yaml").write_text(json.dumps({"sagemaker": {"image": IMAGE, **settings}}))


def refused(*words: str) -> str:
    result = slip(*words)
    assert getattr(result.exception, "exit_code", None) == 1, f"{result.output} {result.exception!r}"
    return str(result.exception)


def served() -> int:
    """Which model version answers?"""
    body = json.dumps({"instances": np.zeros((1, 6, 6, 1)).tolist()}).encode()
    return int(answer(slip("invoke", "images", "--file", "-", stdin=body))["model"]["version"])


def verified() -> bool:
    return all(finding["right"] for finding in answer(slip("verify", "images", "--json")))


def changing_calls() -> list[str]:
    """What was asked of AWS since the last look that changes anything?"""
    made = [call.operation for call in recorded.calls()]
    recorded.door("DELETE", "calls")
    return [one for one in made if not one.startswith(("Describe", "Get", "Head", "List", "Invoke"))]


@contextmanager
def firing_once(name: str, when: Callable[[], bool]) -> Iterator[None]:
    """An alarm of this name, quiet until something is so."""
    by_hand("cloudwatch", "put_metric_alarm", AlarmName=name, Namespace="Any", MetricName="Bad", Statistic="Sum",
            Period=60, EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold")

    def watch() -> None:
        while not when():
            time.sleep(0.05)
        by_hand("cloudwatch", "set_alarm_state", AlarmName=name, StateValue="ALARM", StateReason="too many errors")

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    yield
    thread.join(20)


def is_updating() -> bool:
    now = Aws().endpoints.endpoint(ENDPOINT)
    return now is not None and now.status == "Updating"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, network_files: Path) -> Iterator[Path]:
    """images/1 in Production and nothing deployed; the folder of the registry."""
    folder = tmp_path_factory.mktemp("sagemaker")
    with registry_and_aws(folder):
        configure()
        registered(network_files)
        yield folder


@pytest.fixture(scope="module")
def first(home: Path) -> Any:
    """images/1 was planned, then deployed; what the deploy said."""
    planned = answer(slip("plan", "images", *TARGET, "--json"))
    assert [step.split()[0] for step in planned["steps"]][-3:] == ["create", "ask", "note"]
    assert Aws().endpoints.endpoint(ENDPOINT) is None, "a plan changes nothing"
    changing_calls()
    made = answer(slip("deploy", "images", *TARGET, "--json"))
    hosting = [call for call in changing_calls() if call != "PutObject"]
    assert hosting == ["CreateModel", "CreateEndpointConfig", "CreateEndpoint"]
    return made


@pytest.fixture(scope="module")
def second(home: Path, first: Any, second_files: Path) -> None:  # noqa: F811
    """images/2 was sent back by an alarm, then came into service behind a canary."""
    registered(second_files, 2)
    configure(canary={"size": 50, "wait": 3600}, alarms=["errors"])
    with firing_once("errors", is_updating):
        said = refused("deploy", "images", *TARGET)
    assert "sent slipway-images-" in said and "these alarms are in ALARM: errors" in said
    assert served() == 1
    assert verified(), "the old release serves again, untouched"
    (there,) = answer(slip("status", "images", "--json"))
    assert there["drift"][0].startswith("the last deployment failed: SageMaker sent")
    assert "is firing already" in refused("deploy", "images", *TARGET)
    by_hand("cloudwatch", "set_alarm_state", AlarmName="errors", StateValue="OK", StateReason="mended")
    configure(canary={"size": 50, "wait": 1}, alarms=["errors"])
    answer(slip("deploy", "images", *TARGET, "--json"))
    configure()


def test_the_approved_version_is_deployed_once_and_answers_with_its_name(first: Any, network_files: Path) -> None:
    assert (first["model"], first["version"], first["place"]) == ("images", 1, ENDPOINT)
    changing_calls()
    assert answer(slip("deploy", "images", *TARGET, "--json")) == {**first, "steps": 0}
    assert changing_calls() == []
    golden = read_golden(network_files / "golden.npz")
    body = json.dumps({"instances": golden.inputs["image"].tolist()}).encode()
    said = answer(slip("invoke", "images", "--file", "-", stdin=body))
    np.testing.assert_allclose(said["predictions"], golden.outputs["probabilities"], atol=1e-5)
    assert said["model"] == {"name": "images", "version": 1, "digest": first["digest"]}


def test_the_bundle_that_serves_is_found_in_what_the_endpoint_was_given(first: Any, tmp_path: Path) -> None:
    from serving import verify

    folder = SageMakerTarget(Aws(), load()).bundle_in_service("images", tmp_path)
    assert verify(folder).manifest.digest == first["digest"]


def test_a_bad_request_is_refused_with_what_was_found(first: Any) -> None:
    result = slip("invoke", "images", "--file", "-", stdin=b'{"instances": [[1, 2]]}')
    assert "row 0: found shape [2]; wanted [6, 6, 1]" in str(result.exception)


def test_the_container_reaches_no_network_and_its_archive_holds_the_approved_bytes(first: Any) -> None:
    config = Aws().endpoints.config(first["published"])
    assert config is not None
    model = Aws().endpoints.model(config.variants[0].model)
    assert model is not None and model.isolated
    assert model.data.startswith(f"s3://{BUCKET}/releases/images/{first['digest']}/sagemaker/")


def test_a_breach_brings_the_old_release_back_and_a_quiet_canary_lets_the_new_one_in(second: None) -> None:
    assert served() == 2
    assert verified()
    (there,) = answer(slip("status", "images", "--json"))
    assert there["drift"] == []
    assert there["targets"][0]["place"].startswith(f"{ENDPOINT} -> ")


def swapped_config() -> None:
    done = SageMakerTarget(Aws(), load()).logbook("images").read()
    by_hand("sagemaker", "update_endpoint", EndpointName=ENDPOINT, EndpointConfigName=done[1].published)
    settled(Aws(), ENDPOINT)


def other_weight() -> None:
    Aws().endpoints.reweigh(ENDPOINT, "production", 0.5)
    settled(Aws(), ENDPOINT)


@pytest.mark.parametrize(("tamper", "named"), [(swapped_config, "configuration"), (other_weight, "weights")])
def test_what_somebody_changed_by_hand_is_named_and_mended_by_a_deploy(
    second: None, tamper: Callable[[], None], named: str
) -> None:
    tamper()
    assert named in refused("verify", "images")
    assert any(line.startswith(named) for line in answer(slip("status", "images", "--json"))[0]["drift"])
    answer(slip("deploy", "images", *TARGET, "--json"))
    assert verified() and served() == 2


def serving_model() -> ModelState:
    aws = Aws()
    endpoint = aws.endpoints.endpoint(ENDPOINT)
    config = aws.endpoints.config(endpoint.config) if endpoint else None
    model = aws.endpoints.model(config.variants[0].model) if config else None
    assert model is not None
    return model


def made_anew(model: ModelState) -> None:
    by_hand("sagemaker", "delete_model", ModelName=model.name)
    Aws().endpoints.create_model(model)


@pytest.mark.parametrize(("change", "named"), [
    ({"image": IMAGE.replace("0.1", "0.2")}, "image"), ({"environment": (("PYTHONPATH", "/x"),)}, "environment"),
    ({"isolated": False}, "network"),
])
def test_a_model_deleted_and_made_anew_with_something_else_is_named_and_no_deploy_builds_on_it(
    second: None, change: dict[str, Any], named: str
) -> None:
    before = serving_model()
    made_anew(replace(before, **change))
    try:
        assert named in refused("verify", "images")
        assert "is named by its content and holds another" in refused("deploy", "images", *TARGET)
    finally:
        made_anew(before)
    assert verified()


def test_a_config_deleted_and_made_anew_with_something_else_is_named(second: None) -> None:
    aws = Aws()
    now = aws.endpoints.endpoint(ENDPOINT)
    before = aws.endpoints.config(now.config) if now else None
    assert before is not None
    (variant,) = before.variants
    for config, right in ((replace(before, variants=(replace(variant, instance_type="ml.c7i.large"),)), False),
                          (before, True)):
        by_hand("sagemaker", "delete_endpoint_config", EndpointConfigName=before.name)
        aws.endpoints.create_config(config)
        if not right:
            assert "variants" in refused("verify", "images")
    assert verified()


def test_verify_ends_with_1_as_a_program_and_names_what_was_changed(second: None) -> None:
    swapped_config()
    told = typed("verify", "images")
    assert (told.returncode, "is not what was approved: configuration" in told.stderr) == (1, True), told.stderr
    answer(slip("deploy", "images", *TARGET, "--json"))
    assert typed("verify", "images").returncode == 0


def test_a_model_object_that_was_replaced_in_the_bundle_in_s3_is_named(second: None) -> None:
    prefix = serving_model().data.removeprefix(f"s3://{BUCKET}/").split("/sagemaker/")[0]
    (key,) = [key for key in Aws().storage.keys(BUCKET, prefix) if key.endswith("/model.onnx")]
    before, put = Aws().storage.read(BUCKET, key), {"Bucket": BUCKET, "Key": key, "ChecksumAlgorithm": "SHA256"}
    by_hand("s3", "put_object", Body=before + b"\0", **put)
    try:
        assert "is not what was approved: bundle in S3" in refused("verify", "images")
    finally:
        by_hand("s3", "put_object", Body=before, **put)
    assert verified()


def test_a_replaced_archive_is_named_and_no_deploy_builds_on_it(second: None) -> None:
    key = serving_model().data.removeprefix(f"s3://{BUCKET}/")
    before = Aws().storage.read(BUCKET, key)
    put = {"Bucket": BUCKET, "Key": key, "ChecksumAlgorithm": "SHA256"}
    by_hand("s3", "put_object", Body=before + b"\0", **put)
    try:
        assert "archive in S3" in refused("verify", "images")
        assert "holds other bytes than this release" in refused("deploy", "images", *TARGET)
    finally:
        by_hand("s3", "put_object", Body=before, **put)
    assert verified()


def test_a_release_that_answers_its_golden_requests_wrongly_goes_back(second: None) -> None:
    aws, target = Aws(), SageMakerTarget(Aws(), load())
    done = target.logbook("images").read()
    wrong = Golden({"image": np.zeros((1, 6, 6, 1), np.float32)}, {"probabilities": np.ones((1, 3), np.float32)})
    plan = Plan("", (AskGolden(ENDPOINT, done[-1].published, done[1].published),))
    with pytest.raises(GoldenFailed, match=f"{ENDPOINT} serves {done[1].published} again"):
        execute(plan, aws, target.hands(wrong), lambda step, seconds: None)
    assert served() == 1
    answer(slip("deploy", "images", *TARGET, "--json"))
    assert served() == 2


def test_the_previous_release_comes_back_without_the_registry_and_again_forward(second: None, home: Path) -> None:
    with registry_lost(home):
        back = typed("rollback", "images", "--json")
        assert (back.returncode, json.loads(back.stdout)["version"], served()) == (0, 1, 1), back.stderr
        assert typed("verify", "images").returncode == 0
    assert answer(slip("status", "images", "--json"))[0]["drift"][0].startswith("Production is")
    assert "; a deploy would undo that. Next: " in refused("deploy", "images", *TARGET)
    assert served() == 1
    answer(slip("deploy", "images", *TARGET, "--again", "--json"))
    assert served() == 2


def test_an_endpoint_cannot_become_serverless_and_that_is_said_before_anything_changes(second: None) -> None:
    configure(serverless={"memory": 2048})
    changing_calls()
    assert "is not serverless, and SageMaker cannot change that" in refused("deploy", "images", *TARGET)
    assert changing_calls() == []
    configure()


def test_autoscaling_is_set_named_when_it_was_changed_by_hand_and_taken_away_again(second: None) -> None:
    wanted = {"least": 1, "most": 3, "invocations": 100}
    configure(autoscaling=wanted)
    steps = [step.split()[0] for step in answer(slip("plan", "images", *TARGET, "--json"))["steps"]]
    assert steps == ["note", "ask", "scale", "note"], "nothing else moves"
    answer(slip("deploy", "images", *TARGET, "--json"))
    assert Aws().scaling.scaling(ENDPOINT, "production") == ScalingState(1, 3, 100.0)
    assert answer(slip("deploy", "images", *TARGET, "--json"))["steps"] == 0
    Aws().scaling.scale(ENDPOINT, "production", ScalingState(1, 9, 100.0))
    assert "autoscaling" in refused("verify", "images")
    configure()
    answer(slip("deploy", "images", *TARGET, "--json"))
    assert Aws().scaling.scaling(ENDPOINT, "production") is None
    assert verified()


def test_a_batch_in_s3_is_answered_by_the_release_in_service(second: None, second_files: Path) -> None:  # noqa: F811
    golden = read_golden(second_files / "golden.npz")
    for number, row in enumerate(golden.inputs["image"][:2]):
        body = json.dumps({"instances": [row.tolist()]}).encode()
        by_hand("s3", "put_object", Bucket=BUCKET, Key=f"asked/{number}.json", Body=body)
    where = ("--input", f"s3://{BUCKET}/asked/", "--output", f"s3://{BUCKET}/answers")
    made = answer(slip("batch", "images", *where, "--json"))
    assert made["model"] == serving_model().name
    for number in range(2):
        said = json.loads(Aws().storage.read(BUCKET, f"answers/{number}.json.out"))
        np.testing.assert_allclose(said["predictions"], golden.outputs["probabilities"][number:number + 1], atol=1e-5)
        assert said["model"]["version"] == 2


def test_a_batch_that_fails_is_told_with_sagemakers_reason(second: None) -> None:
    where = ("--input", f"s3://{BUCKET}/nothing-here/", "--output", f"s3://{BUCKET}/answers")
    assert "is Failed: No S3 objects found" in refused("batch", "images", *where)
    result = slip("batch", "images", "--input", "days/", "--output", "s3://b/c")
    assert "days/ is no S3 address" in str(result.exception)


@contextmanager
def callers() -> Iterator[None]:
    """Somebody asks the endpoint all the time while it is updated."""
    done, asked = threading.Event(), boto3.client("sagemaker-runtime")
    hosting, body = boto3.client("sagemaker"), json.dumps({"instances": np.zeros((1, 6, 6, 1)).tolist()})

    def ask() -> None:
        while not done.wait(0.02):
            if hosting.describe_endpoint(EndpointName=ENDPOINT)["EndpointStatus"] == "Updating":
                asked.invoke_endpoint(EndpointName=ENDPOINT, ContentType="application/json", Body=body)

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(20)


def test_a_release_that_takes_longer_is_sent_back_by_the_stacks_alarm_on_its_latency(
    second: None, slow_files: Path
) -> None:
    stack = template(Settings(), ["images"], ["sagemaker"])
    alarm, name = stack["Resources"]["EndpointSlow1"]["Properties"], f"{ENDPOINT}-p90"
    assert name in stack["Outputs"]["RollbackAlarms1"]["Value"].split(", ")
    one_minute = {"EvaluationPeriods": 1, "DatapointsToAlarm": 1}  # of three, so that nobody waits for two
    by_hand("cloudwatch", "put_metric_alarm", **{**alarm, **one_minute, "Threshold": SLOW_MICROSECONDS,
                                                 "AlarmActions": []})
    registered(slow_files, 3)
    configure(canary={"size": 50, "wait": 3600}, alarms=[name])
    with callers():
        result = slip("deploy", "images", *TARGET, "--json")
    said = str(result.exception)
    assert f"these alarms are in ALARM: {name} ({name}: ModelLatency p90 GreaterThanThreshold 25000)" in said
    (judged,) = json.loads(result.stdout)["judged"]
    assert (judged["test"], judged["verdict"]) == (name, "broken")
    assert served() == 2
