"""What AWS asks of a policy for each call that the product makes, and whether statements allow it.

By the Service Authorization Reference and the pages that name further permissions (Lambda: code from S3, layers, roles,
networks; S3: SSE-KMS; Application Auto Scaling: alarms).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from serving.iam import Account, Statement

ACCOUNT = Account("123456789012", "us-east-1")
KEY = ACCOUNT.arn("kms", "key/0f0f")
BY_S3 = {"kms:ViaService": "s3.us-east-1.amazonaws.com", "kms:ResourceAliases": "alias/slipway"}


@dataclass(frozen=True)
class Need:
    """What a call must be allowed."""

    action: str
    resource: str
    context: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recorded:
    """A call, and the roles of whoever made it, for which target; and the key of what was answered later."""

    roles: tuple[str, ...]
    target: str
    service: str
    operation: str
    status: int
    path: str
    body: dict[str, Any]
    answers_key: str = KEY


def allows(statements: Sequence[Statement], need: Need) -> bool:
    """Does one of the statements allow it?"""
    return any(_matches(one, need) for one in statements)


def _matches(statement: Statement, need: Need) -> bool:
    held = all(need.context.get(one.key) in one.values for one in statement.conditions)
    return (held and need.action in statement.actions
            and any(fnmatchcase(need.resource, arn) for arn in statement.resources))


def needs(call: Recorded) -> list[Need]:
    """What must be allowed for this call?

    Raises:
        KeyError: nobody has said so yet.
    """
    if call.service == "sts":
        return []  # GetCallerIdentity needs no permission
    if call.service == "iam":  # its parameters are no JSON: GetRole of the target's execution role
        return [Need(f"iam:{call.operation}", f"arn:aws:iam::{ACCOUNT.id}:role/slipway-exec-{call.target}")]
    if call.service == "s3":
        return _s3(call)
    if call.service == "kms":
        return [Need(f"kms:{call.operation}", call.body["KeyId"])]
    if call.service == "logs":
        group = call.body.get("logGroupName", ":log-stream:")
        return [Need(f"logs:{call.operation}", ACCOUNT.arn("logs", f"log-group:{group}"))]
    if call.service == "application-autoscaling":
        return _scaling(call)
    if call.service == "cloudwatch":  # its parameters are no JSON: the one alarm that we make ourselves
        alarm = ACCOUNT.arn("cloudwatch", "alarm:slipway-images-wake")
        return [Need(f"cloudwatch:{call.operation}", alarm if call.operation in ALARMED else "*")]
    return _sagemaker(call) if call.service.startswith("sagemaker") else _lambda(call)


ALARMED = ("PutMetricAlarm", "DeleteAlarms")


def _scaling(call: Recorded) -> list[Need]:
    """Alarms are made and deleted in the caller's name, and so is, once, the role by which AWS scales."""
    if call.operation.startswith("Describe"):
        return [Need(f"application-autoscaling:{call.operation}", "*")]
    found = [Need(f"application-autoscaling:{call.operation}",
                  ACCOUNT.arn("application-autoscaling", "scalable-target/0ec5"))]
    tracked = ACCOUNT.arn("cloudwatch", "alarm:TargetTracking-endpoint/slipway-images/variant/production-AlarmHigh-1")
    if call.operation == "RegisterScalableTarget":
        role = ("role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/"
                "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint")
        found.append(Need("iam:CreateServiceLinkedRole", ACCOUNT.arn("iam", role, regional=False),
                          {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}))
    if call.operation == "PutScalingPolicy":
        found.append(Need("cloudwatch:PutMetricAlarm", tracked))
    if call.operation == "DeregisterScalableTarget":
        found.append(Need("cloudwatch:DeleteAlarms", tracked))
    return found


S3_ACTIONS = {
    "HeadObject": "GetObject", "GetObject": "GetObject", "PutObject": "PutObject", "ListObjectsV2": "ListBucket",
    "CreateMultipartUpload": "PutObject", "UploadPart": "PutObject", "CompleteMultipartUpload": "PutObject",
    "ListMultipartUploads": "ListBucketMultipartUploads", "ListParts": "ListMultipartUploadParts",
    "AbortMultipartUpload": "AbortMultipartUpload", "DeleteObjects": "DeleteObject",
}
DECRYPTS = {"GetObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}
ENCRYPTS = {"PutObject", "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload"}


def _s3(call: Recorded) -> list[Need]:
    bucket, _, key = unquote(urlsplit(call.path).path).removeprefix("/").partition("/")
    if call.operation == "DeleteObjects":
        key = "releases/any"  # the keys are in its XML, which is not recorded
    resource = f"arn:aws:s3:::{bucket}/{key}" if key else f"arn:aws:s3:::{bucket}"
    found = [Need(f"s3:{S3_ACTIONS[call.operation]}", resource)]
    if call.status == 404:  # who may not list is told 403 instead
        found.append(Need("s3:ListBucket", f"arn:aws:s3:::{bucket}"))
    elif call.operation in DECRYPTS:
        found.append(Need("kms:Decrypt", call.answers_key if "/answers/" in key else KEY, BY_S3))
    if call.operation in ENCRYPTS:
        found.append(Need("kms:GenerateDataKey", KEY, BY_S3))
    return found


def _lambda(call: Recorded) -> list[Need]:
    parts, query = urlsplit(call.path).path.split("/"), parse_qs(urlsplit(call.path).query)
    body = call.body
    operation = re.sub(r"\d{8}(v\d)?$", "", call.operation)
    if operation in ("ListLayerVersions", "ListFunctions", "GetAccountSettings"):
        return [Need(f"lambda:{operation}", "*")]
    if call.operation == "DeleteLayerVersion":
        return [Need("lambda:DeleteLayerVersion", ACCOUNT.arn("lambda", f"layer:{parts[3]}:{parts[5]}"))]
    if call.operation == "GetLayerVersionByArn":
        return [Need("lambda:GetLayerVersion", query["Arn"][0])]
    if call.operation == "PublishLayerVersion":
        return [Need("lambda:PublishLayerVersion", ACCOUNT.arn("lambda", f"layer:{parts[3]}")), *_code(body["Content"])]
    name = body["FunctionName"] if call.operation == "CreateFunction" else parts[3]
    action = {"Invoke": "InvokeFunction", "GetFunctionConfiguration20150331v2": "GetFunctionConfiguration"}.get(
        call.operation, operation)
    found = [Need(f"lambda:{action}", ACCOUNT.arn("lambda", f"function:{name}"))]
    found += [Need("lambda:GetLayerVersion", layer) for layer in body.get("Layers", ())]
    if (body.get("VpcConfig") or {}).get("SubnetIds"):  # Lambda looks with the caller's eyes
        found += [Need(f"ec2:Describe{what}", "*") for what in ("Subnets", "SecurityGroups", "Vpcs")]
    if "Role" in body:
        found.append(Need("iam:PassRole", body["Role"], {"iam:PassedToService": "lambda.amazonaws.com"}))
    return found + _code(body.get("Code", body))


def _sagemaker(call: Recorded) -> list[Need]:
    body, parts = call.body, urlsplit(call.path).path.split("/")
    names = {"endpoint": body.get("EndpointName"), "endpoint-config": body.get("EndpointConfigName"),
             "model": body.get("ModelName")}
    if call.operation in ("InvokeEndpoint", "InvokeEndpointAsync"):
        names = {"endpoint": parts[2]}
    if "TransformJobName" in body:  # the model that it names is no resource of CreateTransformJob
        names = {"transform-job": body["TransformJobName"]}
    if call.operation in {"ListEndpointConfigs", "ListModels"}:
        return [Need(f"sagemaker:{call.operation}", "*")]
    found = [Need(f"sagemaker:{call.operation}", ACCOUNT.arn("sagemaker", f"{kind}/{name}"))
             for kind, name in names.items() if name]
    assert found, call
    if body.get("KmsKeyId"):  # reached by a grant, which CreateEndpoint makes in the caller's name
        found.append(Need("kms:CreateGrant", body["KmsKeyId"], {"kms:GrantIsForAWSResource": "true"}))
    if "ExecutionRoleArn" in body:
        found.append(Need("iam:PassRole", body["ExecutionRoleArn"], {"iam:PassedToService": "sagemaker.amazonaws.com"}))
    return found


def _code(place: Mapping[str, Any]) -> list[Need]:
    """Lambda fetches code with the caller's permissions."""
    if "S3Key" not in place:
        return []
    return [Need("s3:GetObject", f"arn:aws:s3:::{place['S3Bucket']}/{place['S3Key']}"), Need("kms:Decrypt", KEY, BY_S3)]


def refused(calls: Sequence[Recorded], policies: Mapping[tuple[str, str], Sequence[Statement]]) -> list[str]:
    """Which calls do these policies not allow to those who made them?"""
    return [f"{call.operation} {call.path}: {need.action} on {need.resource}" for call in calls for need in needs(call)
            if not allows([one for role in call.roles for one in policies[role, call.target]], need)]
