"""What slipway.yaml adds to a deployment is allowed by the policies made for it, and nothing of what they add is idle.

Recorded on the local AWS, as in `test_allowed`. Emulated.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest

from serving import Aws, Bundle, Settings, build
from serving.iam import Statement, policy
from serving.localaws import running
from serving.targets import open_target
from serving.withdraw import withdraw
from tests.iam.needing import ACCOUNT, KEY, Recorded, needs, refused
from tests.iam.test_allowed import IMAGE, deploy
from tests.serving.conftest import network_files, release_of
from tests.serving.recorded import forget, told
from tests.serving.test_deploy import environment

__all__ = ["network_files"]  # a fixture
OTHER_KEY = ACCOUNT.arn("kms", "key/0e0e")
ROLES = ("publisher", "deployer", "pruner")
# Asked until environments are ready, which on the local AWS they are at once.
UNRECORDED = {("deployer", "lambda:GetProvisionedConcurrencyConfig")}
ALARM = {"AlarmName": "errors", "Namespace": "Any", "MetricName": "Bad", "Statistic": "Sum", "Period": 60,
         "EvaluationPeriods": 1, "Threshold": 1, "ComparisonOperator": "GreaterThanThreshold"}
SCALED: dict[str, Any] = {"image": IMAGE, "asynchronous": {}, "autoscaling": {"least": 0, "most": 2, "backlog": 5}}


@dataclass(frozen=True)
class Configured:
    """What was asked of AWS under a configuration, and the statements made for it: all, and those of no other."""

    calls: Sequence[Recorded]
    held: Mapping[tuple[str, str], Sequence[Statement]]
    added: Sequence[tuple[tuple[str, str], Statement]]


def around() -> dict[str, Any]:
    """Every option of a function that calls of its own belong to."""
    ec2 = boto3.client("ec2")
    network = {"subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
               "security_groups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]]}
    return {"vpc": network, "dead_letter": "arn:aws:sqs:us-east-1:123456789012:slipway-dead", "tracing": True,
            "reserved": 20, "provisioned": 1, "url": "iam", "url_callers": ["210987654321"], "log_retention": 30,
            "alarms": ["errors"]}


def under(name: str, sections: Callable[[], dict[str, Any]], bundle: Bundle, home: Path) -> Configured:
    """Deploy, put right what somebody changed by hand, take out of service: recorded."""
    found: list[Recorded] = []
    with running("--speed", "100") as variables, environment(**variables):
        def during(roles: tuple[str, ...], what: Callable[..., Any], *given: Any) -> None:
            forget()
            what(*given)
            came = json.loads(json.dumps(told()).replace(key, KEY).replace(other_key, OTHER_KEY))
            found.extend(Recorded(roles, name, answers_key=OTHER_KEY, **call) for call in came)

        boto3.client("cloudwatch").put_metric_alarm(**ALARM)
        boto3.client("logs").create_log_group(logGroupName="/aws/lambda/another")
        key, other_key = (boto3.client("kms").create_key()["KeyMetadata"]["Arn"] for _ in range(2))
        settings = Settings.model_validate(with_keys(chosen := sections(), key, other_key))
        target = open_target(name, Aws.of(settings), settings)
        during(("publisher", "deployer"), deploy, target, bundle, home / "scratch")
        by_hand(name)
        during(("publisher", "deployer"), deploy, target, bundle, home / "scratch")
        during(("pruner",), withdraw, "images", name, Aws.of(settings), settings)
    printed = Settings.model_validate(with_keys(chosen, KEY, OTHER_KEY))  # the local AWS makes up a key's id
    held = {(role, name): policy(role, name, printed, ACCOUNT).statements for role in ROLES}
    known = {(role, one.sid) for role in ROLES for one in policy(role, name, Settings(), ACCOUNT).statements}
    return Configured(found, held, [(who, one) for who, those in held.items() for one in those
                                    if (who[0], one.sid) not in known])


def with_keys(sections: Mapping[str, Any], key: str, other: str) -> dict[str, Any]:
    """The configuration with a key for the releases, and another for what SageMaker keeps."""
    kept = {name: {**held, "kms": other} if name == "sagemaker" else held for name, held in sections.items()}
    return {"kms_key": key, **kept}


def by_hand(target: str) -> None:
    """Somebody changes what slipway.yaml says."""
    if target == "lambda":
        boto3.client("lambda").update_function_url_config(
            FunctionName="slipway-images", Qualifier="production", AuthType="NONE")
    else:
        boto3.client("application-autoscaling").register_scalable_target(
            ServiceNamespace="sagemaker", ResourceId="endpoint/slipway-images/variant/production",
            ScalableDimension="sagemaker:variant:DesiredInstanceCount", MinCapacity=1, MaxCapacity=3)


@pytest.fixture(scope="module")
def configured(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Configured]]:
    home = tmp_path_factory.mktemp("configured")
    bundle = build(release_of(network_files), network_files, home / "bundle")
    with environment(MLFLOW_TRACKING_URI=f"sqlite:///{home}/none.db"):
        yield {"lambda": under("lambda", lambda: {"lambda": around()}, bundle, home),
               "sagemaker": under("sagemaker", lambda: {"sagemaker": SCALED}, bundle, home)}


@pytest.mark.parametrize("target", ["lambda", "sagemaker"])
def test_every_call_of_every_option_is_allowed(configured: dict[str, Configured], target: str) -> None:
    asked = configured[target]
    assert len(asked.calls) > 30
    assert refused(asked.calls, asked.held) == []


@pytest.mark.parametrize("target", ["lambda", "sagemaker"])
def test_no_statement_and_no_action_that_options_add_is_idle(configured: dict[str, Configured], target: str) -> None:
    asked = configured[target]
    assert len(asked.added) > 5
    idle = [one.sid for who, one in asked.added
            if not refused(asked.calls, {**asked.held, who: [other for other in asked.held[who] if other is not one]})]
    assert idle == []
    unused = {(who[0], action) for who, one in asked.added for action in one.actions} - {
        (role, need.action) for call in asked.calls for role in call.roles for need in needs(call)}
    assert unused == (UNRECORDED if target == "lambda" else set())
