"""The policies printed are the golden ones, name nothing that AWS does not know, and fit where IAM wants them."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import re
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import slipway
from serving import operate_commands
from serving.config import Settings
from serving.iam import ROLES, TARGETS, Account, policy, template

GOLDEN = Path(__file__).parents[1] / "golden" / "iam"
ACCOUNT = Account("123456789012", "us-east-1")
OWN = Settings.model_validate({
    "prefix": "acme", "bucket": "acme-models", "kms_key": "arn:aws:kms:us-east-1:123456789012:key/0f0f",
    "lambda": {"role": "arn:aws:iam::123456789012:role/theirs"}})
MANAGED_LIMIT = 6_144  # characters of a managed policy, IAM quotas, read 2026-11; white space is not counted
CASES = [(role, target) for role in ROLES for target in TARGETS]


@functools.cache
def known_to_aws() -> dict[str, Any]:
    """Actions and the kinds of resources that they take, as AWS lists them and cfn-lint keeps them."""
    spec = importlib.util.find_spec("cfnlint")
    assert spec and spec.submodule_search_locations
    listed = Path(spec.submodule_search_locations[0]) / "data" / "AdditionalSpecs" / "Policies.json"
    found: dict[str, Any] = json.loads(listed.read_text())
    return found


def same_as_golden(name: str, said: Any) -> None:
    """SLIPWAY_WRITE_GOLDEN=1 writes them, to be read before they are committed."""
    text = json.dumps(said, indent=2) + "\n"
    if os.environ.get("SLIPWAY_WRITE_GOLDEN"):
        (GOLDEN / name).write_text(text)
    assert (GOLDEN / name).read_text() == text


@pytest.mark.parametrize(("role", "target"), CASES)
def test_a_roles_policy_is_the_golden_one(role: str, target: str) -> None:
    same_as_golden(f"{target}-{role}.json", policy(role, target, Settings(), ACCOUNT).to_dict())


def test_the_template_is_the_golden_one() -> None:
    same_as_golden("stack.json", template(Settings(), ["images"]))


@pytest.mark.parametrize(("role", "target"), CASES)
def test_every_action_exists_and_takes_the_resource_that_it_is_given(role: str, target: str) -> None:
    known = known_to_aws()
    for statement in policy(role, target, Settings(), ACCOUNT).statements:
        for action in statement.actions:
            service, name = action.split(":")
            kinds = known[service]["Actions"][name.lower()].get("Resources", [])
            shapes = {kind.lower().replace(" ", ""): held["ARNFormats"]
                      for kind, held in known[service]["Resources"].items()}
            formats = [shape for kind in kinds for shape in shapes[kind.lower().replace(" ", "")]]
            fits = [re.compile(re.sub(r"\$\{\w+\}", "[^:]*", shape)) for shape in formats]
            if not kinds:
                assert statement.resources == ("*",), f"{action} knows no resource"
            elif statement.resources != ("*",):  # DescribeAlarms is told nothing of composite ones otherwise
                assert any(one.fullmatch(arn) for one in fits for arn in statement.resources), action


@pytest.mark.parametrize(("role", "target"), CASES)
def test_a_policy_fits_into_a_managed_one(role: str, target: str) -> None:
    text = json.dumps(policy(role, target, Settings(prefix="a" * 20), ACCOUNT).to_dict(), separators=(",", ":"))
    assert len(text) <= MANAGED_LIMIT


@pytest.mark.parametrize(("role", "target"), CASES)
def test_nothing_is_allowed_outside_the_configured_names(role: str, target: str) -> None:
    wide = [(one.sid, arn) for one in policy(role, target, OWN, ACCOUNT).statements for arn in one.resources
            if arn != "*" and not re.search(r"acme|theirs|key/0f0f|slipway-exec-sagemaker", arn)]
    # SageMaker has one group for the logs of all batches; whose they are says the stream.
    assert wide == [("MakeTheLogOfBatches", ACCOUNT.arn("logs", "log-group:/aws/sagemaker/TransformJobs"))
                    ] * ((role, target) == ("runtime", "sagemaker"))


def test_only_actions_that_know_no_resource_or_have_a_condition_are_allowed_on_everything() -> None:
    wide = {action for role, target in CASES for one in policy(role, target, Settings(), ACCOUNT).statements
            for action in one.actions if "*" in one.resources}
    assert wide == {"lambda:ListLayerVersions", "lambda:ListFunctions", "cloudwatch:GetMetricStatistics",
                    "cloudwatch:DescribeAlarms", "sagemaker:ListEndpointConfigs", "sagemaker:ListModels",
                    "ecr:GetAuthorizationToken", "cloudwatch:PutMetricData",
                    "application-autoscaling:DescribeScalableTargets"}


def test_a_journal_cannot_be_written_by_a_publisher_nor_a_release_by_a_deployer() -> None:
    def writable(role: str, key: str) -> bool:
        return any(fnmatchcase(f"arn:aws:s3:::acme-models/{key}", arn)
                   for one in policy(role, "lambda", OWN, ACCOUNT).statements if "s3:PutObject" in one.actions
                   for arn in one.resources)

    found = [(role, writable(role, "releases/m/d/x"), writable(role, "deployments/m/lambda/1"))
             for role in ROLES]
    assert found == [("publisher", True, False), ("deployer", False, True), ("pruner", False, True),
                     ("runtime", False, False)]


@pytest.mark.parametrize(("settings", "models"), [(Settings(), []), (OWN, ["images", "ratings"])],
                         ids=["defaults", "own names, two models"])
def test_cfn_lint_finds_nothing_in_the_template(settings: Settings, models: list[str], tmp_path: Path) -> None:
    file = tmp_path / "stack.json"
    file.write_text(json.dumps(template(settings, models)))
    lint = [str(Path(sys.executable).parent / "cfn-lint"), "--include-checks", "I", "--", str(file)]
    done = subprocess.run(lint, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_the_command_prints_what_iam_takes() -> None:
    asked = ["iam", "--role", "deployer", "--account", ACCOUNT.id, "--region", ACCOUNT.region]
    done = CliRunner().invoke(slipway.cli, asked)
    assert json.loads(done.output) == policy("deployer", "lambda", Settings(), ACCOUNT).to_dict()
    every = CliRunner().invoke(slipway.cli, ["iam", "--target", "sagemaker", "--account", "1", "--region", "r"])
    assert list(json.loads(every.output)) == list(ROLES)
    stack = CliRunner().invoke(slipway.cli, ["iam", "--cloudformation", "--json"])
    assert json.loads(stack.output) == template(Settings())


def test_the_commands_choices_are_the_policies() -> None:
    assert (operate_commands.ROLES.choices, operate_commands.PLACES.choices) == (ROLES, TARGETS)


AROUND: dict[str, Any] = {
    "reserved": 20, "provisioned": 2, "url": "iam", "url_callers": ["210987654321"], "log_retention": 30,
    "alarms": ["errors"],
    "tracing": True, "dead_letter": "arn:aws:sqs:us-east-1:123456789012:slipway-dead",
    "vpc": {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}}


@pytest.mark.parametrize(("role", "added"), [
    ("deployer", {"Reserve", "SeeWhatIsLeft", "LookAtAlarms", "HaveReady", "OpenTheUrl", "LetCallersIn",
                  "FindTheLog", "KeepTheLog", "LookAtTheNetwork"}),
    ("runtime", {"HaveANetwork", "Trace", "SendWhatFailed"}),
])
def test_what_is_set_around_a_function_is_allowed_only_where_it_is_configured(role: str, added: set[str]) -> None:
    every = policy(role, "lambda", Settings.model_validate({"lambda": AROUND}), ACCOUNT).statements
    plain = {one.sid for one in policy(role, "lambda", Settings(), ACCOUNT).statements}
    assert {one.sid for one in every} - plain == added
    for one in every:
        for action in one.actions:
            service, name = action.split(":")
            assert name.lower() in known_to_aws()[service]["Actions"], action


def test_who_deploys_may_scale_only_where_endpoints_scale() -> None:
    scaled = Settings.model_validate({"sagemaker": {"autoscaling": {"most": 3, "invocations": 100}}})
    known, no_more = known_to_aws(), {"LookAtPolicies", "ScaleNoMore", "RemoveScalingAlarms"}
    for role, wanted in (("deployer", {"ScaleEndpoints", "KeepScalingAlarms", "LetAwsScale"} | no_more),
                         ("pruner", no_more)):
        sids = [{one.sid for one in policy(role, "sagemaker", settings, ACCOUNT).statements}
                for settings in (Settings(), scaled)]
        assert sids[1] - sids[0] == wanted
        for one in policy(role, "sagemaker", scaled, ACCOUNT).statements:
            for action in one.actions:
                service, name = action.split(":")
                assert name.lower() in known[service]["Actions"], action
