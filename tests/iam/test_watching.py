"""What the stack watches is what AWS measures of functions and endpoints, and what it removes is nobody's release."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import slipway
from serving import operate_commands
from serving.config import Settings, parse
from serving.errors import ConfigurationInvalid
from serving.iam import TARGETS, alarms, template
from serving.targets.sagemaker import names

NEVER = ("releases/", "layers/", "deployments/")
PLAIN = {"-5xx", "-4xx", "-p90", "-p99", "-overhead", "-memory", "-disk", "-cpu"}
# Statistics that AWS names as valid for each, and its unit; SageMaker developer guide, read 2026-11.
MEASURED = {
    "Invocation5XXErrors": ("AWS/SageMaker", {"Sum", "Average"}), "OverheadLatency": ("AWS/SageMaker", {"Average"}),
    "Invocation4XXErrors": ("AWS/SageMaker", {"Sum", "Average"}), "ModelLatency": ("AWS/SageMaker", {"p90", "p99"}),
    "ApproximateBacklogSizePerInstance": ("AWS/SageMaker", {"Average"}),
    **dict.fromkeys(("CPUUtilization", "MemoryUtilization", "DiskUtilization"),
                    ("/aws/sagemaker/Endpoints", {"Average"}))}
LATER = {"asynchronous": {"to": "later/asked"}, "autoscaling": {"most": 2, "backlog": 5}, "days": 7}


def of(sagemaker: dict[str, Any]) -> Settings:
    return Settings.model_validate({"sagemaker": sagemaker})


def watched(settings: Settings, targets: tuple[str, ...] = TARGETS) -> dict[str, dict[str, Any]]:
    """The stack's alarms of endpoints, by what their names say after the endpoint's."""
    made = template(settings, ["images"], targets)["Resources"].values()
    return {one["Properties"]["AlarmName"].removeprefix("slipway-images"): one["Properties"] for one in made
            if one["Type"] == "AWS::CloudWatch::Alarm" and "AlarmName" in one["Properties"]}


@pytest.mark.parametrize(("sagemaker", "wanted"), [
    ({}, PLAIN), (LATER, PLAIN - {"-overhead"} | {"-backlog"}), ({"serverless": {}}, PLAIN - {"-disk", "-cpu"}),
    ({"instance_type": "ml.m7i.metal-24xl"}, PLAIN - {"-cpu"}),
], ids=["at once", "later", "serverless", "of a size that tells no cores"])
def test_an_endpoint_is_watched_by_what_aws_measures_of_its_kind(sagemaker: dict[str, Any], wanted: set[str]) -> None:
    found = watched(of(sagemaker))
    assert set(found) == wanted
    for one in found.values():
        namespace, statistics = MEASURED[one["MetricName"]]
        assert one["Namespace"] == namespace
        assert one.get("Statistic", one.get("ExtendedStatistic")) in statistics
        by = {"EndpointName": "slipway-images", "VariantName": names.VARIANT}
        if one["MetricName"] == "ApproximateBacklogSizePerInstance":
            del by["VariantName"]
        assert {held["Name"]: held["Value"] for held in one["Dimensions"]} == by


def test_times_are_microseconds_that_whoever_makes_the_stack_may_choose() -> None:
    said = template(Settings(), ["images"])["Parameters"]
    assert {name: said[name]["Default"] for name in ("LatencyP90", "LatencyP99", "OverheadLatency")} == {
        "LatencyP90": 500_000, "LatencyP99": 1_000_000, "OverheadLatency": 500_000}
    assert {name: one["Threshold"] for name, one in watched(Settings()).items() if isinstance(one["Threshold"], dict)
            } == {"-p90": {"Ref": "LatencyP90"}, "-p99": {"Ref": "LatencyP99"}, "-overhead": {"Ref": "OverheadLatency"}}
    assert "LatencyP90" not in template(Settings(), ["images"], ("lambda",))["Parameters"]


@pytest.mark.parametrize(("instance", "cores"), [
    ("ml.m7i.large", 2), ("ml.c5.xlarge", 4), ("ml.g5.12xlarge", 48), ("ml.t2.medium", 0), ("ml.m7i.metal-24xl", 0)])
def test_an_instance_is_busy_by_the_number_of_its_cores(instance: str, cores: int) -> None:
    assert alarms.cores(instance) == cores
    busy = watched(of({"instance_type": instance})).get("-cpu")
    assert (busy["Threshold"] if busy else 0) == 90 * cores


def test_more_wait_than_autoscaling_aims_at_before_somebody_is_told() -> None:
    assert watched(of(LATER))["-backlog"]["Threshold"] == 15
    assert watched(of({"asynchronous": {}}))["-backlog"]["Threshold"] == 10


def test_alarms_that_bring_a_release_back_are_named_for_slipway_yaml() -> None:
    stack = template(Settings(), ["images", "my_words"])
    named = stack["Outputs"]["RollbackAlarms1"]["Value"].split(", ")
    assert set(named) < {f"slipway-images{end}" for end in watched(Settings())}
    assert of({"alarms": named, "canary": {}}).sagemaker.alarms == tuple(named)
    assert "RollbackAlarms2" not in stack["Outputs"], "SageMaker takes no such name, so the model serves on Lambda"
    assert "Fails2" in stack["Resources"]
    assert "RollbackAlarms1" not in template(of({"serverless": {}}), ["images"])["Outputs"]


def test_the_stack_watches_the_targets_that_it_is_for() -> None:
    def kinds(stack: dict[str, Any]) -> set[str]:
        said = json.dumps([one for one in stack["Resources"].values() if "CloudWatch" in one["Type"]])
        return {kind for kind in ("AWS/Lambda", "AWS/SageMaker") if kind in said}

    for models in ((), ("images",)):
        assert kinds(template(Settings(), models)) == {"AWS/Lambda", "AWS/SageMaker"}
        assert kinds(template(Settings(), models, ("lambda",))) == {"AWS/Lambda"}
        assert kinds(template(Settings(), models, ("sagemaker",))) == {"AWS/SageMaker"}


def test_every_metric_with_an_alarm_is_on_the_dashboard() -> None:
    for sagemaker in ({}, LATER):
        body = template(of(sagemaker), ["images"])["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
        shown = json.dumps([one["properties"]["metrics"] for one in json.loads(body)["widgets"]])
        missing = {one["MetricName"] for one in watched(of(sagemaker)).values() if one["MetricName"] not in shown}
        assert missing == set()


@pytest.mark.parametrize("settings", [Settings(), of(LATER), of({"asynchronous": {"to": "rel"}})],
                         ids=["defaults", "a prefix of one's own", "one that begins like another"])
def test_no_rule_of_the_bucket_removes_a_release_a_layer_or_a_journal(settings: Settings) -> None:
    rules = template(settings)["Resources"]["Bucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    for rule in rules:
        removes = set(rule) - {"Id", "Status", "Prefix"}
        if removes == {"AbortIncompleteMultipartUpload"}:
            continue  # takes what was never completed, a week after a deploy would have gone on with it
        assert removes == {"ExpirationInDays", "NoncurrentVersionExpiration"}
        assert not any(one.startswith(rule["Prefix"]) or rule["Prefix"].startswith(one) for one in NEVER), rule
        assert rule["ExpirationInDays"] == settings.sagemaker.days
    later = settings.sagemaker.asynchronous
    assert {rule.get("Prefix") for rule in rules} == {None, "shadow/", f"{later.to if later else 'asynchronous'}/"}


@pytest.mark.parametrize("first", ["releases", "layers", "deployments", "shadow", "capture", "batch"])
def test_what_is_forgotten_cannot_be_configured_to_lie_where_something_is_kept(first: str) -> None:
    with pytest.raises(ConfigurationInvalid, match=f"under {first}/ lie other things of ours"):
        parse(f"sagemaker: {{asynchronous: {{to: {first}/x}}}}", name="slipway.yaml")


def test_cfn_lint_finds_nothing_in_stacks_of_other_endpoints(tmp_path: Path) -> None:
    stacks = [template(of(LATER), ["images"]), template(of({"serverless": {}}), ["images"], ("sagemaker",)),
              template(Settings(), [], ("lambda",))]
    files = [tmp_path / f"{number}.json" for number, _ in enumerate(stacks)]
    for file, stack in zip(files, stacks, strict=True):
        file.write_text(json.dumps(stack))
    lint = [str(Path(sys.executable).parent / "cfn-lint"), "--include-checks", "I", "--", *map(str, files)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_a_stack_is_printed_small_enough_for_cloudformation_and_a_larger_one_says_so() -> None:
    printed = CliRunner().invoke(slipway.cli, ["iam", "--cloudformation", "--model", "images", "--model", "ratings"])
    assert json.loads(printed.stdout) == template(Settings(), ["images", "ratings"])
    assert len(printed.stdout.encode()) < operate_commands.INLINE
    assert printed.stderr == ""
    many = [word for number in range(9) for word in ("--model", f"images{number}")]
    said = CliRunner().invoke(slipway.cli, ["iam", "--cloudformation", *many])
    assert "is over 51,200. Next: give aws cloudformation deploy an --s3-bucket" in said.stderr
    assert json.loads(said.stdout) == template(Settings(), many[1::2])
