"""What Lambda refuses of a function's settings is refused here in the same words."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import Maker

QUEUE = "arn:aws:sqs:us-east-1:123456789012:slipway-dead"
POOR = "arn:aws:iam::123456789012:role/poor"


@pytest.fixture(scope="module")
def network(lambdas: Any) -> dict[str, Any]:
    """A subnet and a security group of the default network."""
    ec2 = boto3.client("ec2", endpoint_url=lambdas.meta.endpoint_url, region_name="us-east-1",
                       aws_access_key_id="local", aws_secret_access_key="local")  # fmt: skip
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    group = ec2.describe_security_groups()["SecurityGroups"][0]["GroupId"]
    return {"SubnetIds": [subnet], "SecurityGroupIds": [group]}


@pytest.fixture(scope="module")
def poor(lambdas: Any) -> str:
    """A role that Lambda may assume, and that may do nothing."""
    iam = boto3.client("iam", endpoint_url=lambdas.meta.endpoint_url, region_name="us-east-1",
                       aws_access_key_id="local", aws_secret_access_key="local")  # fmt: skip
    trust = {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    iam.create_role(RoleName="poor", AssumeRolePolicyDocument=json.dumps({"Statement": [trust]}))
    return POOR


@pytest.mark.parametrize(("settings", "words"), [
    ({"Timeout": 901}, "less than or equal to 900"),
    ({"MemorySize": 10_241}, "less than or equal to 10240"),
    ({"EphemeralStorage": {"Size": 10_241}}, "less than or equal to 10240"),
    ({"VpcConfig": {"SubnetIds": ["subnet-none"], "SecurityGroupIds": ["sg-none"]}}, "'subnet-none' does not exist"),
    ({"VpcConfig": {"SubnetIds": ["subnet-none"]}}, "must coexist"),
    ({"DeadLetterConfig": {"TargetArn": "arn:aws:s3:::bucket"}}, "not valid"),
])
def test_a_setting_beyond_lambdas_is_refused(make_function: Maker, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ClientError, match=words):
        make_function(**settings)


@pytest.mark.parametrize(("settings", "words"), [
    ({"DeadLetterConfig": {"TargetArn": QUEUE}}, "SendMessage on SQS"),
    ({"TracingConfig": {"Mode": "Active"}}, "PutTraceSegments on XRAY"),
    ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, "CreateNetworkInterface on EC2"),
])
def test_a_role_that_may_not_do_what_a_setting_needs_is_refused(
    make_function: Maker, poor: str, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(ClientError, match=words):
        make_function(Role=poor, **settings)


def test_network_and_dead_letters_are_shown_and_empty_ones_take_them_away(
    lambdas: Any, make_function: Maker, network: dict[str, Any]
) -> None:
    name = make_function(VpcConfig=network, DeadLetterConfig={"TargetArn": QUEUE})
    shown = lambdas.get_function_configuration(FunctionName=name)
    assert (shown["VpcConfig"]["SubnetIds"], shown["DeadLetterConfig"]) == (network["SubnetIds"], {"TargetArn": QUEUE})
    lambdas.update_function_configuration(
        FunctionName=name, VpcConfig={"SubnetIds": [], "SecurityGroupIds": []}, DeadLetterConfig={"TargetArn": ""})
    assert not {"VpcConfig", "DeadLetterConfig"} & set(lambdas.get_function_configuration(FunctionName=name))


def test_reserved_concurrency_leaves_the_account_a_hundred(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    with pytest.raises(ClientError, match=r"below its minimum value of \[100\]"):
        lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=901)
    before = lambdas.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"]
    lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=10)
    assert lambdas.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == before - 10


def test_what_stands_ready_must_fit_into_what_is_reserved(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.publish_version(FunctionName=name)
    lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    ready = {"FunctionName": name, "Qualifier": "1"}
    with pytest.raises(ClientError, match="should not be greater than the reservedConcurrentExecution"):
        lambdas.put_provisioned_concurrency_config(**ready, ProvisionedConcurrentExecutions=2)
    lambdas.put_provisioned_concurrency_config(**ready, ProvisionedConcurrentExecutions=1)
    (listed,) = lambdas.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert (listed["FunctionArn"].rsplit(":", 1)[1], listed["RequestedProvisionedConcurrentExecutions"]) == ("1", 1)
    with pytest.raises(ClientError, match="should not be lower than"):
        lambdas.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)


def test_an_alias_that_shares_its_requests_has_no_environments_ready(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.publish_version(FunctionName=name)
    lambdas.update_function_configuration(FunctionName=name, MemorySize=256)
    lambdas.publish_version(FunctionName=name)
    lambdas.create_alias(FunctionName=name, Name="live", FunctionVersion="1",
                         RoutingConfig={"AdditionalVersionWeights": {"2": 0.5}})  # fmt: skip
    with pytest.raises(ClientError, match="Alias with weights can not be used"):
        lambdas.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=1)


def test_a_permission_for_calls_by_the_url_says_so_in_the_policy(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.add_permission(FunctionName=name, StatementId="a", Action="lambda:InvokeFunction",
                           Principal="210987654321", InvokedViaFunctionUrl=True)  # fmt: skip
    (statement,) = json.loads(lambdas.get_policy(FunctionName=name)["Policy"])["Statement"]
    assert statement["Principal"] == {"AWS": "arn:aws:iam::210987654321:root"}
    assert statement["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
