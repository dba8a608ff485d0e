"""What the local AWS has from the start is what the stack of `slipway iam --cloudformation` makes, by its names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest

from serving.config import Settings
from serving.iam import ROLES, TARGETS, Account, policy, template
from serving.localaws import running
from tests.serving.test_deploy import environment

ACCOUNT = Account("123456789012", "us-east-1")
NAMES = {"AWS::AccountId": ACCOUNT.id, "AWS::Region": ACCOUNT.region, "AWS::Partition": ACCOUNT.partition}


def filled(value: Any) -> Any:
    """As CloudFormation fills in account, region and partition."""
    if isinstance(value, dict):
        held = {key: filled(one) for key, one in value.items()}
        return held["Fn::Sub"] if set(held) == {"Fn::Sub"} else held
    if isinstance(value, list | tuple):
        return [filled(one) for one in value]
    if isinstance(value, str):
        for name, said in NAMES.items():
            value = value.replace(f"${{{name}}}", said)
    return value


def stack(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of the stack's resources of a kind, by their names in it."""
    made: dict[str, Any] = template(Settings())["Resources"]
    return {name: filled(one["Properties"]) for name, one in made.items() if one["Type"] == f"AWS::{kind}"}


@pytest.fixture(scope="module")
def seeded() -> Iterator[None]:
    with running() as variables, environment(**variables):
        yield


@pytest.mark.usefixtures("seeded")
def test_the_bucket_and_the_key_are_the_stacks() -> None:
    (bucket,), (alias,) = stack("S3::Bucket").values(), stack("KMS::Alias").values()
    s3, name = boto3.client("s3"), bucket["BucketName"]
    assert [one["Name"] for one in s3.list_buckets()["Buckets"]] == [name]
    key = {one["AliasName"]: one.get("TargetKeyId") for one in boto3.client("kms").list_aliases()["Aliases"]}
    (rule,) = s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"]
    (wanted,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    by, wanted_by = rule["ApplyServerSideEncryptionByDefault"], wanted["ServerSideEncryptionByDefault"]
    assert (rule["BucketKeyEnabled"], by["SSEAlgorithm"]) == (wanted["BucketKeyEnabled"], wanted_by["SSEAlgorithm"])
    assert by["KMSMasterKeyID"].endswith(f"/{key[alias['AliasName']]}")
    assert wanted_by["KMSMasterKeyID"] == {"Fn::GetAtt": ["Key", "Arn"]}
    assert s3.get_bucket_versioning(Bucket=name)["Status"] == bucket["VersioningConfiguration"]["Status"]
    assert (s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
            == bucket["PublicAccessBlockConfiguration"])


@pytest.mark.usefixtures("seeded")
def test_the_roles_that_releases_run_as_are_the_stacks() -> None:
    there = {one["RoleName"]: one["AssumeRolePolicyDocument"] for one in boto3.client("iam").list_roles()["Roles"]}
    wanted = {one["RoleName"]: one["AssumeRolePolicyDocument"] for name, one in stack("IAM::Role").items()
              if name.endswith("RuntimeRole")}
    assert set(there) == set(wanted)

    def trusted(document: Any) -> list[tuple[Any, Any]]:
        said = json.loads(document) if isinstance(document, str) else document
        return [(one["Principal"], one["Action"]) for one in said["Statement"]]

    assert {name: trusted(one) for name, one in there.items()} == {name: trusted(one) for name, one in wanted.items()}


@pytest.mark.usefixtures("seeded")
def test_functions_may_there_what_the_printed_policy_lets_them_with_every_option() -> None:
    said = boto3.client("iam").get_role_policy(RoleName="slipway-exec-lambda", PolicyName="slipway-runtime")
    there = {action for one in said["PolicyDocument"]["Statement"] for action in one["Action"]}
    printed = set[str]()
    for kind in ("sqs", "sns"):  # failed events go to one of them
        every = {"vpc": {"subnets": ["subnet-1"], "security_groups": ["sg-1"]}, "tracing": True,
                 "dead_letter": f"arn:aws:{kind}:us-east-1:123456789012:slipway-dead"}
        made = policy("runtime", "lambda", Settings.model_validate({"lambda": every}), ACCOUNT)
        printed |= {action for one in made.statements for action in one.actions}
    assert there - printed == set()


def test_the_stacks_roles_may_do_what_the_command_prints_and_no_more() -> None:
    found = {(role["RoleName"], held["PolicyName"]): held["PolicyDocument"]
             for role in stack("IAM::Role").values() for held in role["Policies"]}
    settings = Settings()
    names = {**{(role, target): f"slipway-{role}" for role in ROLES[:3] for target in TARGETS},
             ("runtime", "lambda"): settings.lambda_.role, ("runtime", "sagemaker"): settings.sagemaker.role}
    wanted = {(name, f"slipway-{role}-{target}"): policy(role, target, settings, ACCOUNT).to_dict()
              for (role, target), name in names.items()}
    del wanted["slipway-publisher", "slipway-publisher-sagemaker"]  # a publisher's is the same for both
    assert policy("publisher", "sagemaker", settings, ACCOUNT) == policy("publisher", "lambda", settings, ACCOUNT)
    assert found == wanted
