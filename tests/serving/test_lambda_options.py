"""What slipway.yaml says of a function is planned, done, journaled, and named when somebody changes it by hand."""

from __future__ import annotations

import http.client
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from serving import Aws, Bundle, Settings, build
from serving.execution import execute
from serving.golden import read_golden
from serving.localaws import running
from serving.plan import Plan
from serving.status import status_of
from serving.targets.lambda_.target import LambdaTarget
from serving.withdraw import withdraw

from . import recorded
from .conftest import release_of
from .test_deploy import environment
from .test_prune import release

NAME = "slipway-images"
QUEUE = "arn:aws:sqs:us-east-1:123456789012:slipway-dead"
OTHERS = "210987654321"
DEPLOYED = {"FunctionName": NAME, "Qualifier": "production"}


@pytest.fixture(scope="module")
def bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(release_of(network_files), network_files, tmp_path_factory.mktemp("options") / "bundle")


@pytest.fixture(scope="module")
def options(bundle: Bundle) -> Iterator[dict[str, Any]]:
    """Every option, on a local AWS."""
    with running() as variables, environment(**variables):
        ec2 = boto3.client("ec2")
        yield {
            "memory": 512, "timeout": 20, "storage": 1024, "environment": {"SLIPWAY_MAX_ROWS": "500"},
            "vpc": {"subnets": [ec2.describe_subnets()["Subnets"][0]["SubnetId"]],
                    "security_groups": [ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]]},
            "dead_letter": QUEUE, "tracing": True, "reserved": 20, "provisioned": 1, "url": "iam",
            "url_callers": [OTHERS], "log_retention": 30}


@pytest.fixture(scope="module")
def settings(options: dict[str, Any]) -> Settings:
    return Settings.model_validate({"lambda": options})


@pytest.fixture(scope="module")
def deployed(settings: Settings, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """It serves with every option, after a release with none."""
    home = tmp_path_factory.mktemp("deployed")
    deploy(bundle, home, Settings())
    made = release(bundle, 2, home / "second")
    deploy(made, home, settings)
    return made


def plan_of(bundle: Bundle, home: Path, settings: Settings) -> Plan:
    scratch = home / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    return LambdaTarget(Aws.of(settings), settings).plan(bundle, scratch, lambda line: None)


def deploy(bundle: Bundle, home: Path, settings: Settings) -> Plan:
    plan, aws = plan_of(bundle, home, settings), Aws.of(settings)
    golden = read_golden(bundle.folder / "golden.npz")
    execute(plan, aws, LambdaTarget(aws, settings).hands(golden), lambda step, seconds: None)
    return plan


def wrong(settings: Settings) -> dict[str, str]:
    findings = LambdaTarget(Aws(), settings).in_service("images", thoroughly=False).findings
    return {finding.what: finding.found for finding in findings if not finding.right}


def test_a_second_deploy_with_every_option_changes_nothing(
    deployed: Bundle, settings: Settings, tmp_path: Path
) -> None:
    recorded.forget()
    assert plan_of(deployed, tmp_path, settings).steps == ()
    assert recorded.changing() == []
    assert wrong(settings) == {}


def test_a_change_is_planned_from_what_is_to_what_is_wanted(
    deployed: Bundle, options: dict[str, Any], tmp_path: Path
) -> None:
    other = {**options, "memory": 1024, "tracing": False, "reserved": 30, "provisioned": 0, "url": "none",
             "url_callers": [], "log_retention": 7, "environment": {"SLIPWAY_MAX_BODY": "1000"}}
    lines = "\n".join(plan_of(deployed, tmp_path, Settings.model_validate({"lambda": other})).lines())
    for said in ("memory 512 -> 1024", "tracing Active -> PassThrough", "variable SLIPWAY_MAX_BODY added",
                 "variable SLIPWAY_MAX_ROWS removed", "reserve     20 -> 30 requests",
                 "provision   1 -> no environments",
                 "slipway-images:production: AWS_IAM -> none", f"forbid      {OTHERS}", "30 -> 7 days"):
        assert said in lines
    assert "500" not in lines, "a variable's value may be a secret"


SET: list[tuple[str, str, str, dict[str, Any]]] = [
    ("reserved concurrency", "5; wanted 20", "put_function_concurrency",
     {"FunctionName": NAME, "ReservedConcurrentExecutions": 5}),
    ("provisioned", "1 environments of version 1, 1 environments of version 2; wanted 1 environments of version 2",
     "put_provisioned_concurrency_config",
     {"FunctionName": NAME, "Qualifier": "1", "ProvisionedConcurrentExecutions": 1}),
    ("url", "NONE; wanted AWS_IAM", "update_function_url_config", {**DEPLOYED, "AuthType": "NONE"}),
    ("url callers", "* InvokeFunctionUrl", "add_permission",
     {**DEPLOYED, "StatementId": "everybody", "Action": "lambda:InvokeFunctionUrl", "Principal": "*",
      "FunctionUrlAuthType": "NONE"}),
    ("log retention", "1 days; wanted 30 days", "put_retention_policy",
     {"logGroupName": f"/aws/lambda/{NAME}", "retentionInDays": 1}),
]
TAKEN: list[tuple[str, str, str, dict[str, Any]]] = [
    ("reserved concurrency", "no; wanted 20", "delete_function_concurrency", {"FunctionName": NAME}),
    ("provisioned", "none; wanted 1 environments of version 2", "delete_provisioned_concurrency_config",
     {"FunctionName": NAME, "Qualifier": "2"}),
    ("url", "none; wanted AWS_IAM", "delete_function_url_config", DEPLOYED),
    ("log retention", "for ever; wanted 30 days", "delete_retention_policy", {"logGroupName": f"/aws/lambda/{NAME}"}),
]


@pytest.mark.parametrize("changes", [SET, TAKEN], ids=["set", "taken away"])
def test_what_is_changed_by_hand_is_named_and_the_next_deploy_puts_it_right(
    deployed: Bundle, settings: Settings, tmp_path: Path, changes: list[tuple[str, str, str, dict[str, Any]]]
) -> None:
    for number, (what, found, operation, given) in enumerate(changes, start=1):
        getattr(boto3.client("logs" if "retention" in operation else "lambda"), operation)(**given)
        said = wrong(settings)
        assert (len(said), found in said[what]) == (number, True), said
    assert deploy(deployed, tmp_path, settings).steps
    assert wrong(settings) == {}


def test_configuration_changed_by_hand_is_named_setting_by_setting(
    deployed: Bundle, settings: Settings, tmp_path: Path
) -> None:
    client = boto3.client("lambda")
    client.update_function_configuration(
        FunctionName=NAME, Timeout=9, EphemeralStorage={"Size": 600}, DeadLetterConfig={"TargetArn": ""},
        Environment={"Variables": {"SLIPWAY_MAX_ROWS": "501"}}, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []})
    version = client.publish_version(FunctionName=NAME)["Version"]
    client.update_alias(FunctionName=NAME, Name="production", FunctionVersion=version)
    said = wrong(settings)
    for words in ("timeout 9 instead of 20", "storage 600 instead of 1024", "subnets none instead of subnet-",
                  "security groups none instead of sg-", f"dead letter none instead of {QUEUE}",
                  "variable SLIPWAY_MAX_ROWS changed"):
        assert words in said["configuration"]
    assert set(said) == {"alias", "configuration"}
    deploy(deployed, tmp_path, settings)
    assert wrong(settings) == {}


def test_a_signed_request_reaches_the_url_that_status_prints_and_an_unsigned_one_does_not(
    deployed: Bundle, settings: Settings
) -> None:
    told = status_of("images", ["lambda"], lambda name: LambdaTarget(Aws(), settings))
    (url,) = [line.split()[1] for line in told.lines() if line.startswith("  url")]
    golden = read_golden(deployed.folder / "golden.npz")
    body = json.dumps({"instances": golden.inputs["image"][:1].tolist()}).encode()
    request = AWSRequest("POST", url, data=body, headers={"Content-Type": "application/json",
                                                          "Host": urlsplit(url).netloc})
    keys = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    SigV4Auth(keys, "lambda", "us-east-1").add_auth(request)
    status, said = fetched(url, body, dict(request.headers.items()))
    assert (status, said["model"]["version"]) == (200, 2)
    assert fetched(url, body, {"Content-Type": "application/json"})[0] == 403


def fetched(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, Any]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80)
    connection.request("POST", "/", body, {**headers, "Host": parts.netloc})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_a_rollback_moves_what_stands_ready_and_leaves_what_is_around(
    deployed: Bundle, settings: Settings, tmp_path: Path
) -> None:
    target = LambdaTarget(Aws(), settings)
    back = target.plan_back("images", None)
    execute(back.plan, Aws(), target.hands(back.golden), lambda step, seconds: None)
    held = Aws().surroundings
    assert held.provisioned(NAME) == {"1": 1}
    assert (held.reserved(NAME), held.url(NAME, "production") is not None) == (20, True)
    assert wrong(settings) == {}
    deploy(deployed, tmp_path, settings)
    assert held.provisioned(NAME) == {"2": 1}


def test_out_of_service_nothing_stands_ready_and_costs(deployed: Bundle, settings: Settings, tmp_path: Path) -> None:
    withdraw("images", "lambda", Aws(), settings)
    held = Aws().surroundings
    assert (held.provisioned(NAME), held.url(NAME, "production")) == ({}, None)
    deploy(deployed, tmp_path, settings)
    assert wrong(settings) == {}


def test_options_taken_out_of_the_file_are_taken_away(deployed: Bundle, tmp_path: Path) -> None:
    deploy(deployed, tmp_path, Settings())
    assert wrong(Settings()) == {}
    held, state = Aws().surroundings, Aws().functions.state(NAME, "production")
    assert state is not None
    assert (held.reserved(NAME), held.provisioned(NAME), held.url(NAME, "production"),
            held.grants(NAME, "production")) == (None, {}, None, ())
    assert (state.configuration.subnets, state.configuration.dead_letter) == ((), "")

