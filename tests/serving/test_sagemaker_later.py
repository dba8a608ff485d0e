"""A release on SageMaker that answers later, to S3: deployed, asked, proven, scaled to nothing. Emulated."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import Aws, Bundle, Settings
from serving.aws import EndpointState, LaterState, ScalingState
from serving.aws.scaling import alarm_name
from serving.config import parse
from serving.errors import AwsFailed, ConfigurationInvalid, Refused
from serving.golden import read_golden
from serving.iam import policy
from serving.targets.sagemaker.later import ask_of
from serving.targets.sagemaker.target import SageMakerTarget
from serving.withdraw import withdraw
from tests.iam.needing import ACCOUNT, Recorded, refused

from . import recorded
from .test_deploy_proof import by_hand
from .test_sagemaker_proof import bundle, deploy, in_order, local_aws, settings_of

__all__ = ["bundle", "local_aws"]  # fixtures
TOPIC = "arn:aws:sns:us-east-1:123456789012:answers"
ASKED: list[Recorded] = []  # what the deploy asked of AWS
LATER = {"at_once": 4, "success_topic": TOPIC}
ENDPOINT, ROOT = "later-images", "s3://later-releases/asynchronous/later-images"
TO_NOTHING = {"least": 0, "most": 2, "backlog": 5}


@pytest.fixture(scope="module")
def settings(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """An asynchronous endpoint serves; its golden requests were asked through S3."""
    made = settings_of("later", asynchronous=LATER)
    recorded.forget()
    assert deploy(bundle, tmp_path_factory.mktemp("later") / "scratch", made) > 0
    ASKED.extend(Recorded(("publisher", "deployer"), "sagemaker", **call) for call in recorded.told())
    yield made
    withdraw("images", "sagemaker", Aws(), made)


def test_the_policies_allow_every_call_of_it_and_none_of_their_statements_for_it_is_idle(settings: Settings) -> None:
    calls = [call for call in ASKED if call.service in ("sagemaker", "sagemaker-runtime", "s3")]
    held = {(role, "sagemaker"): policy(role, "sagemaker", settings, ACCOUNT).statements
            for role in ("publisher", "deployer")}
    by_key = [call for call in refused(calls, held) if "kms:" not in call]  # the key's alias has another prefix here
    assert len(calls) > 10
    assert by_key == []
    for sid in ("AskLater", "PutRequestsAndReadAnswers"):
        left = {**held, ("deployer", "sagemaker"): [one for one in held["deployer", "sagemaker"] if one.sid != sid]}
        assert any("InvokeEndpointAsync" in call or "/asynchronous/" in call for call in refused(calls, left))
    topics = [one for one in policy("runtime", "sagemaker", settings, ACCOUNT).statements if one.sid == "TellOfAnswers"]
    assert topics[0].resources == (TOPIC,)


def ask(payload: Any, settings: Settings) -> Any:
    return json.loads(SageMakerTarget(Aws(), settings).invoke("images", json.dumps(payload).encode()))


def test_it_is_deployed_once_proven_and_answers_under_its_own_prefix(
    settings: Settings, bundle: Bundle, tmp_path: Path
) -> None:
    assert in_order(settings)
    assert deploy(bundle, tmp_path / "again", settings) == 0
    endpoint = Aws().endpoints.endpoint(ENDPOINT)
    config = Aws().endpoints.config(endpoint.config) if endpoint else None
    assert config is not None
    assert config.later == LaterState(f"{ROOT}/answers", f"{ROOT}/failures", "", 4, TOPIC)
    golden = read_golden(bundle.folder / "golden.npz")
    before = Aws().storage.keys("later-releases", "asynchronous/later-images/answers/")
    said = ask({"instances": golden.inputs["image"].tolist()}, settings)
    np.testing.assert_allclose(said["predictions"], golden.outputs["probabilities"], atol=1e-5)
    assert len(Aws().storage.keys("later-releases", "asynchronous/later-images/answers/")) == len(before) + 1


def test_a_bad_request_is_refused_with_what_was_found_there_too(settings: Settings) -> None:
    assert "row 0: found shape [2]; wanted [6, 6, 1]" in ask({"instances": [[1, 2]]}, settings)["error"]


def test_a_container_that_fails_is_told_with_what_it_left(settings: Settings) -> None:
    class Failing(Aws):
        """Its endpoint has put a failure."""

        def __getattribute__(self, name: str) -> Any:
            return self if name == "endpoints" else super().__getattribute__(name)

        def invoke_later(self, name: str, source: str) -> tuple[str, str]:
            self.storage.create_bytes("later-releases", "asynchronous/failed", b"out of memory")
            return f"{ROOT}/none", "s3://later-releases/asynchronous/failed"

    endpoint = EndpointState(ENDPOINT, "c", "InService", "", (), serverless=False, answers_to=f"{ROOT}/answers")
    with pytest.raises(AwsFailed, match=r"later-images failed: out of memory \(s3://later-releases/asynchronous/failed"):
        ask_of(Failing(), endpoint)(b"{}")


def test_that_it_answers_later_is_not_changed_and_said_before_anything_is(
    settings: Settings, bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="later-images is asynchronous, and SageMaker cannot change that"):
        deploy(bundle, tmp_path / "at-once", settings_of("later"))


def test_it_scales_to_no_instance_and_whoever_waits_wakes_it(
    settings: Settings, bundle: Bundle, tmp_path: Path
) -> None:
    scaled = settings_of("later", asynchronous=LATER, autoscaling=TO_NOTHING)
    deploy(bundle, tmp_path / "scaled", scaled)
    assert in_order(scaled)
    assert deploy(bundle, tmp_path / "again", scaled) == 0
    assert Aws().scaling.scaling(ENDPOINT, "production") == ScalingState(0, 2, backlog=5.0)
    (alarm,) = by_hand("cloudwatch", "describe_alarms", AlarmNames=[alarm_name(ENDPOINT)])["MetricAlarms"]
    assert (alarm["MetricName"], alarm["Dimensions"]) == (
        "HasBacklogWithoutCapacity", [{"Name": "EndpointName", "Value": ENDPOINT}])
    policies = by_hand("application-autoscaling", "describe_scaling_policies", ServiceNamespace="sagemaker")
    assert alarm["AlarmActions"] == [one["PolicyARN"] for one in policies["ScalingPolicies"]
                                     if one["PolicyType"] == "StepScaling"]
    awake = settings_of("later", asynchronous=LATER, autoscaling={**TO_NOTHING, "least": 1})
    deploy(bundle, tmp_path / "awake", awake)
    assert Aws().scaling.scaling(ENDPOINT, "production") == ScalingState(1, 2, backlog=5.0)
    assert by_hand("cloudwatch", "describe_alarms", AlarmNames=[alarm_name(ENDPOINT)])["MetricAlarms"] == []


@pytest.mark.parametrize(("sagemaker", "reason"), [
    ("{autoscaling: {least: 0, most: 2, invocations: 5}}", "only an asynchronous endpoint can scale to no instance"),
    ("{autoscaling: {most: 2, backlog: 5}}", "an asynchronous endpoint scales by autoscaling.backlog, any other by"),
    ("{asynchronous: {}, autoscaling: {most: 2, invocations: 5}}", "scales by autoscaling.backlog"),
    ("{asynchronous: {}, autoscaling: {most: 2}}", "wanted either invocations"),
    ("{asynchronous: {}, serverless: {}}", "a serverless endpoint has no"),
    ("{asynchronous: {}, capture: {}}", "keeps its requests and answers in S3 as it is"),
    ("{asynchronous: {to: releases/x}}", "under releases/ lie other things of ours"),
    ("{asynchronous: {sucess_topic: x}}", "unknown key sagemaker.asynchronous.sucess_topic; the nearest is "
                                          "success_topic"),
])
def test_what_an_endpoint_cannot_be_is_refused_with_the_reason(sagemaker: str, reason: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=reason):
        parse(f"sagemaker: {sagemaker}", name="slipway.yaml")
