"""The CloudFormation template of what an account needs before the first deploy. Pure.

The policies are those of `policies`, with CloudFormation's own names for account, region and partition.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..config import Settings
from .account import Account, Names
from .policies import ROLES, TARGETS, policy

HERE = Account("${AWS::AccountId}", "${AWS::Region}", "${AWS::Partition}")
PEOPLE = ROLES[:3]  # who is assumed by people and their CI
SERVICES = {"lambda": "lambda.amazonaws.com", "sagemaker": "sagemaker.amazonaws.com"}


def template(settings: Settings, models: Sequence[str] = (), targets: Sequence[str] = TARGETS) -> dict[str, Any]:
    """Which stack makes bucket, key, roles, alarms and dashboard for this configuration?

    Args:
        settings: prefix, bucket and roles. With a ``kms_key`` of its own the stack makes no key.
        models: each gets alarms of its own; without any, one alarm watches the account's functions.
        targets: for which roles are made.
    """
    names = Names(settings, HERE)
    resources = {**_key(names), **_bucket(names), **_roles(names, targets), **_alarms(names, models),
                 "Dashboard": _dashboard(names)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"What slipway needs in an account, for the prefix {settings.prefix}",
        "Parameters": {
            "DeployedBy": {"Type": "String", "Description": "ARN of the user or role that may become publisher, "
                                                            "deployer and pruner, such as that of your CI"},
            "AlarmTopic": {"Type": "String", "Default": "", "Description": "ARN of an SNS topic that alarms are sent "
                                                                          "to; none without it"},
        },
        "Conditions": {"HasTopic": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopic"}, ""]}]}},
        "Resources": resources,
        "Outputs": {"Bucket": {"Value": {"Ref": "Bucket"}},
                    **{f"{role.title()}Role": {"Value": {"Fn::GetAtt": [f"{role.title()}Role", "Arn"]}}
                       for role in PEOPLE}},
    }


def substituted(resource: dict[str, Any]) -> dict[str, Any]:
    """The same with CloudFormation told to fill in every string that holds one of its names."""
    return {name: _filled(value) for name, value in resource.items()}


def _filled(value: Any) -> Any:
    if isinstance(value, str):
        return {"Fn::Sub": value} if "${" in value else value
    if isinstance(value, list | tuple):
        return [_filled(one) for one in value]
    return substituted(value) if isinstance(value, dict) else value


def _key(names: Names) -> dict[str, Any]:
    if names.settings.kms_key:
        return {}
    root = names.account.arn("iam", "root", regional=False)
    statement = {"Sid": "IamDecides", "Effect": "Allow", "Principal": {"AWS": root}, "Action": "kms:*", "Resource": "*"}
    return substituted({
        # Deleting either would make every release unreadable: a deleted stack leaves them.
        "Key": {"Type": "AWS::KMS::Key", "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain", "Properties": {
            "Description": f"Releases of {names.settings.prefix}", "EnableKeyRotation": True,
            "KeyPolicy": {"Version": "2012-10-17", "Statement": [statement]}}},
        "KeyAlias": {"Type": "AWS::KMS::Alias", "Properties": {"AliasName": names.key_alias,
                                                              "TargetKeyId": {"Ref": "Key"}}},
    })


def _bucket(names: Names) -> dict[str, Any]:
    key: Any = names.settings.kms_key or {"Fn::GetAtt": ["Key", "Arn"]}
    encryption = {"BucketKeyEnabled": True, "ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms",
                                                                              "KMSMasterKeyID": key}}
    no_tls = {"Sid": "OnlyTls", "Effect": "Deny", "Principal": "*", "Action": "s3:*",
              "Resource": [*names.s3(), *names.s3("*")], "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    blocked = ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets")
    unfinished = {"Id": "Unfinished", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}
    return substituted({
        "Bucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain",
                   "Properties": {
                       "BucketName": names.bucket,
                       "VersioningConfiguration": {"Status": "Enabled"},
                       "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                       "PublicAccessBlockConfiguration": dict.fromkeys(blocked, True),
                       "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
                       "LifecycleConfiguration": {"Rules": [unfinished]}}},
        "BucketPolicy": {"Type": "AWS::S3::BucketPolicy", "Properties": {
            "Bucket": {"Ref": "Bucket"}, "PolicyDocument": {"Version": "2012-10-17", "Statement": [no_tls]}}},
    })


def _roles(names: Names, targets: Sequence[str]) -> dict[str, Any]:
    people = {"AWS": {"Ref": "DeployedBy"}}
    made = {f"{role.title()}Role": _role(names, f"{names.settings.prefix}-{role}", people, role,
                                         targets[:1] if role == "publisher" else targets) for role in PEOPLE}
    for target in targets:
        name = names.settings.lambda_.role if target == "lambda" else names.settings.sagemaker.role
        if not name.startswith("arn:"):  # one given by its ARN is somebody else's to make
            made[f"{target.title()}RuntimeRole"] = _role(
                names, name, {"Service": SERVICES[target]}, "runtime", (target,))
    return made


def _role(names: Names, name: str, principal: dict[str, Any], role: str, targets: Sequence[str]) -> dict[str, Any]:
    trust = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
    if "Service" in principal:  # no other account's function may be why the service asks
        trust["Condition"] = {"StringEquals": {"aws:SourceAccount": names.account.id}}
    policies = [{"PolicyName": f"slipway-{role}-{target}",
                 "PolicyDocument": policy(role, target, names.settings, names.account).to_dict()} for target in targets]
    return substituted({"Type": "AWS::IAM::Role", "Properties": {
        "RoleName": name, "Policies": policies,
        "AssumeRolePolicyDocument": {"Version": "2012-10-17", "Statement": [trust]},
    }})


def _alarms(names: Names, models: Sequence[str]) -> dict[str, Any]:
    if not models:
        return {"FunctionsFail": _alarm("any function of the account fails", "Errors", [])}
    made = {}
    for number, model in enumerate(models, start=1):
        function = f"{names.settings.prefix}-{model}"
        alias = [{"Name": "FunctionName", "Value": function}, {"Name": "Resource", "Value": f"{function}:production"}]
        made[f"Fails{number}"] = _alarm(f"{function} fails", "Errors", alias)
        made[f"Throttled{number}"] = _alarm(f"{function} is throttled", "Throttles", alias[:1])
    return made


def _alarm(description: str, metric: str, dimensions: list[dict[str, str]]) -> dict[str, Any]:
    topic = {"Fn::If": ["HasTopic", [{"Ref": "AlarmTopic"}], {"Ref": "AWS::NoValue"}]}
    return {"Type": "AWS::CloudWatch::Alarm", "Properties": {
        "AlarmDescription": description, "Namespace": "AWS/Lambda", "MetricName": metric, "Dimensions": dimensions,
        "Statistic": "Sum", "Period": 60, "EvaluationPeriods": 3, "DatapointsToAlarm": 2, "Threshold": 0,
        "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching", "AlarmActions": topic}}


def _dashboard(names: Names) -> dict[str, Any]:
    widgets = [_widget(names, number, title, metric, statistic) for number, (title, metric, statistic) in enumerate((
        ("Requests", "Invocations", "Sum"), ("Errors", "Errors", "Sum"), ("Throttles", "Throttles", "Sum"),
        ("Milliseconds, 95th percentile", "Duration", "p95")))]
    return {"Type": "AWS::CloudWatch::Dashboard", "Properties": {
        "DashboardName": names.settings.prefix, "DashboardBody": {"Fn::Sub": json.dumps({"widgets": widgets})}}}


def _widget(names: Names, number: int, title: str, metric: str, statistic: str) -> dict[str, Any]:
    words = names.settings.prefix.replace("-", " ")  # SEARCH finds whole words; quoted, it would want the whole name
    found = (f"SEARCH('{{AWS/Lambda,FunctionName}} MetricName=\"{metric}\" FunctionName=({words})', "
             f"'{statistic}', 60)")
    return {"type": "metric", "width": 12, "height": 6, "x": 12 * (number % 2), "y": 6 * (number // 2),
            "properties": {"title": title, "region": names.account.region, "period": 60, "view": "timeSeries",
                           "metrics": [[{"expression": found, "id": f"e{number}"}]]}}
