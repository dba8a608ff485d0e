"""The CloudFormation template of what an account needs before the first deploy. Pure.

The policies are those of `policies`, with CloudFormation's own names for account, region and partition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config import Settings
from ..sagemaker_settings import AsynchronousSettings
from .account import Account, Names
from .alarms import ENDPOINT, PARAMETERS, alarms, bringing_back
from .dashboard import dashboard
from .policies import ROLES, SHADOWS, TARGETS, policy

HERE = Account("${AWS::AccountId}", "${AWS::Region}", "${AWS::Partition}")
PEOPLE = ROLES[:3]  # who is assumed by people and their CI
SERVICES = {"lambda": "lambda.amazonaws.com", "sagemaker": "sagemaker.amazonaws.com"}


def template(settings: Settings, models: Sequence[str] = (), targets: Sequence[str] = TARGETS) -> dict[str, Any]:
    """Which stack makes bucket, key, roles, alarms and dashboard for this configuration?

    Args:
        settings: prefix, bucket and roles. With a ``kms_key`` of its own the stack makes no key.
        models: each gets alarms of its own; without any, one alarm for each target watches the whole account.
        targets: for which roles, alarms and pictures are made.
    """
    names = Names(settings, HERE)
    resources = {**_key(names), **_bucket(names), **_roles(names, targets), **alarms(names, models, targets),
                 "Dashboard": dashboard(names, targets)}
    return {
        "AWSTemplateFormatVersion": "2010-09-09",
        "Description": f"What slipway needs in an account, for the prefix {settings.prefix}",
        "Parameters": {
            "DeployedBy": {"Type": "String", "Description": "ARN of the user or role that may become publisher, "
                                                            "deployer and pruner, such as that of your CI"},
            "AlarmTopic": {"Type": "String", "Default": "", "Description": "ARN of an SNS topic that alarms are sent "
                                                                          "to; none without it"},
            **_thresholds(resources),
        },
        "Conditions": {"HasTopic": {"Fn::Not": [{"Fn::Equals": [{"Ref": "AlarmTopic"}, ""]}]}},
        "Resources": resources,
        "Outputs": {"Bucket": {"Value": {"Ref": "Bucket"}},
                    **{f"{role.title()}Role": {"Value": {"Fn::GetAtt": [f"{role.title()}Role", "Arn"]}}
                       for role in PEOPLE},
                    **_bringing_back(names, models, targets)},
    }


def _thresholds(resources: dict[str, Any]) -> dict[str, Any]:
    """Which of the thresholds that can be chosen do the alarms of this stack name?"""
    named = [one["Properties"].get("Threshold") for one in resources.values()]
    return {name: {"Type": "Number", "Default": default, "MinValue": 1, "Description": description}
            for name, (default, description) in PARAMETERS.items() if {"Ref": name} in named}


def _bringing_back(names: Names, models: Sequence[str], targets: Sequence[str]) -> dict[str, Any]:
    """What may be copied into ``sagemaker.alarms`` of the slipway.yaml that each model is deployed with?"""
    own = {number: f"{names.settings.prefix}-{model}" for number, model in enumerate(models, start=1)}
    if "sagemaker" not in targets or names.settings.sagemaker.serverless:
        return {}
    return {f"RollbackAlarms{number}": {"Value": ", ".join(bringing_back(name))} for number, name in own.items()
            if ENDPOINT.fullmatch(name)}


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
    return substituted({
        "Bucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "Retain", "UpdateReplacePolicy": "Retain",
                   "Properties": {
                       "BucketName": names.bucket,
                       "VersioningConfiguration": {"Status": "Enabled"},
                       "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
                       "PublicAccessBlockConfiguration": dict.fromkeys(blocked, True),
                       "BucketEncryption": {"ServerSideEncryptionConfiguration": [encryption]},
                       "LifecycleConfiguration": {"Rules": lifecycle(names.settings)}}},
        "BucketPolicy": {"Type": "AWS::S3::BucketPolicy", "Properties": {
            "Bucket": {"Ref": "Bucket"}, "PolicyDocument": {"Version": "2012-10-17", "Statement": [no_tls]}}},
    })


def lifecycle(settings: Settings) -> list[dict[str, Any]]:
    """By which rules does S3 remove what nobody does: parts of uploads that were given up, and what was asked once?

    None removes releases, layers or journals. The bucket keeps versions: an object that expires is a version no
    longer current, which goes a day later, and the marker left of it goes with the same rule.
    https://docs.aws.amazon.com/AmazonS3/latest/userguide/lifecycle-expire-general-considerations.html, read 2026-11.
    """
    later = settings.sagemaker.asynchronous or AsynchronousSettings()
    return [{"Id": "Unfinished", "Status": "Enabled", "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
            *({"Id": name, "Status": "Enabled", "Prefix": prefix, "ExpirationInDays": settings.sagemaker.days,
               "NoncurrentVersionExpiration": {"NoncurrentDays": 1}}
              for name, prefix in (("Shadows", SHADOWS), ("Asynchronous", f"{later.to}/")))]


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
