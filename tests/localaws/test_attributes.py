"""What hangs on a function: tags, permissions, provisioned concurrency, event settings."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.localaws.conftest import Maker

AGE = """
import time
STARTED = time.time()
def handler(event, context):
    return time.time() - STARTED
"""


def test_tags_are_kept_by_the_functions_arn(lambdas: Any, make_function: Maker) -> None:
    name = make_function(Tags={"release": "images/3", "stage": "Production"})
    arn = lambdas.get_function(FunctionName=name)["Configuration"]["FunctionArn"]
    lambdas.tag_resource(Resource=arn, Tags={"stage": "Archived", "by": "ann"})
    lambdas.untag_resource(Resource=arn, TagKeys=["release"])
    assert lambdas.list_tags(Resource=arn)["Tags"] == {"stage": "Archived", "by": "ann"}
    assert lambdas.get_function(FunctionName=name)["Tags"] == {"stage": "Archived", "by": "ann"}


def test_permissions_are_shown_as_a_policy_and_their_ids_are_unique(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        lambdas.get_policy(FunctionName=name)
    grant = {
        "StatementId": "url",
        "Action": "lambda:InvokeFunctionUrl",
        "Principal": "*",
        "FunctionUrlAuthType": "AWS_IAM",
    }
    lambdas.add_permission(FunctionName=name, **grant)
    with pytest.raises(ClientError, match="ResourceConflictException"):
        lambdas.add_permission(FunctionName=name, **grant)
    statement = json.loads(lambdas.get_policy(FunctionName=name)["Policy"])["Statement"][0]
    assert (statement["Sid"], statement["Action"]) == ("url", "lambda:InvokeFunctionUrl")
    assert statement["Condition"] == {"StringEquals": {"lambda:FunctionUrlAuthType": "AWS_IAM"}}
    lambdas.remove_permission(FunctionName=name, StatementId="url")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        lambdas.remove_permission(FunctionName=name, StatementId="url")


def test_provisioned_concurrency_has_processes_ready(lambdas: Any, make_function: Maker) -> None:
    name = make_function(AGE)
    lambdas.publish_version(FunctionName=name)
    where = {"FunctionName": name, "Qualifier": "1"}
    with pytest.raises(ClientError, match="ProvisionedConcurrencyConfigNotFoundException"):
        lambdas.get_provisioned_concurrency_config(**where)
    made = lambdas.put_provisioned_concurrency_config(**where, ProvisionedConcurrentExecutions=1)
    assert made["Status"] == "READY"
    time.sleep(0.5)
    assert json.loads(lambdas.invoke(**where)["Payload"].read()) >= 0.5
    with pytest.raises(ClientError, match="unpublished"):
        lambdas.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier="$LATEST", ProvisionedConcurrentExecutions=1
        )


def test_event_settings_are_kept_per_qualifier(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    lambdas.update_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    found = lambdas.get_function_event_invoke_config(FunctionName=name)
    assert (found["MaximumRetryAttempts"], found["MaximumEventAgeInSeconds"]) == (0, 60)
    lambdas.delete_function_event_invoke_config(FunctionName=name)
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        lambdas.get_function_event_invoke_config(FunctionName=name)


def test_aliases_and_versions_are_listed(lambdas: Any, make_function: Maker) -> None:
    name = make_function()
    lambdas.publish_version(FunctionName=name)
    lambdas.create_alias(FunctionName=name, Name="production", FunctionVersion="1", Description="images/3")
    assert [alias["Name"] for alias in lambdas.list_aliases(FunctionName=name)["Aliases"]] == ["production"]
    assert lambdas.get_alias(FunctionName=name, Name="production")["Description"] == "images/3"
    versions = lambdas.list_versions_by_function(FunctionName=name)["Versions"]
    assert [version["Version"] for version in versions] == ["$LATEST", "1"]
    assert name in {function["FunctionName"] for page in lambdas.get_paginator("list_functions").paginate()
                    for function in page["Functions"]}
    with pytest.raises(ClientError, match="ResourceConflictException"):
        lambdas.delete_function(FunctionName=name, Qualifier="1")
    lambdas.delete_alias(FunctionName=name, Name="production")
    lambdas.delete_function(FunctionName=name, Qualifier="1")
    with pytest.raises(ClientError, match="ResourceNotFoundException"):
        lambdas.get_alias(FunctionName=name, Name="production")


def test_reserved_variables_and_too_many_are_refused(make_function: Maker) -> None:
    for variables, words in (({"AWS_REGION": "x"}, "reserved keys"), ({"A": "x" * 4100}, "4KB limit")):
        with pytest.raises(ClientError, match=words):
            make_function(Environment={"Variables": variables})


def test_the_account_tells_its_limits(lambdas: Any) -> None:
    assert lambdas.get_account_settings()["AccountLimit"]["CodeSizeUnzipped"] == 262_144_000


def test_what_is_not_played_says_so(lambdas: Any) -> None:
    with pytest.raises(ClientError, match="does not play") as caught:
        lambdas.list_event_source_mappings()
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
