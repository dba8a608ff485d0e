"""What an account has after this project's CloudFormation template: bucket, roles and key."""

from __future__ import annotations

import json

from moto.iam.models import iam_backends
from moto.kms.models import kms_backends
from moto.s3.models import s3_backends

from serving.localaws.account import ACCOUNT, PARTITION

REGION = "us-east-1"
BUCKET = f"slipway-{ACCOUNT}-{REGION}"
ROLES = {"slipway-exec-lambda": "lambda.amazonaws.com", "slipway-exec-sagemaker": "sagemaker.amazonaws.com"}
KEY_ALIAS = "alias/slipway"
_EVERYWHERE = (
    "ec2:CreateNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DeleteNetworkInterface",
    "xray:PutTraceSegments", "xray:PutTelemetryRecords",
)  # fmt: skip


def seed() -> None:
    """Make what is not there yet."""
    key = _key()
    _bucket(key)
    for name, service in ROLES.items():
        _role(name, service)


def _key() -> str:
    backend = kms_backends[ACCOUNT][REGION]
    found = next((key for key in backend.keys.values() if KEY_ALIAS in key.aliases), None)
    if found is None:
        found = backend.create_key(
            policy=None,
            key_usage="ENCRYPT_DECRYPT",
            key_spec="SYMMETRIC_DEFAULT",
            description="Slipway's releases",
            tags=None,
            multi_region=False,
        )
        backend.create_alias(found.id, KEY_ALIAS)
    return str(found.arn)


def _bucket(key_arn: str) -> None:
    backend = s3_backends[ACCOUNT][PARTITION]
    if BUCKET not in backend.buckets:
        backend.create_bucket(BUCKET, REGION)
    bucket = backend.buckets[BUCKET]
    if bucket.encryption or bucket.policy or bucket.public_access_block:
        return  # somebody's settings, kept
    backend.put_bucket_versioning(BUCKET, "Enabled")
    blocked = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")
    backend.put_public_access_block(BUCKET, dict.fromkeys(blocked, True))
    encryption = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key_arn}
    backend.put_bucket_encryption(
        BUCKET, {"Rule": {"ApplyServerSideEncryptionByDefault": encryption, "BucketKeyEnabled": True}}
    )


def _role(name: str, service: str) -> None:
    backend = iam_backends[ACCOUNT][PARTITION]
    if any(role.name == name for role in backend.get_roles()):
        _allow(name)
        return
    trust = {"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}
    backend.create_role(
        role_name=name,
        assume_role_policy_document=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
        path="/",
        permissions_boundary=None,
        description=f"What a deployed release runs as ({service})",
        tags=[],
        max_session_duration="3600",
    )
    _allow(name)


def _allow(name: str) -> None:
    """What `slipway iam` prints for functions with every option: network, traces, failed events to a queue of ours."""
    backend = iam_backends[ACCOUNT][PARTITION]
    if "slipway-runtime" in backend.list_role_policies(name):
        return
    queues = f"arn:aws:*:*:{ACCOUNT}:slipway-*"
    allowed = [
        {"Effect": "Allow", "Action": list(_EVERYWHERE), "Resource": "*"},
        {"Effect": "Allow", "Action": ["sqs:SendMessage", "sns:Publish"], "Resource": queues},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    backend.put_role_policy(name, "slipway-runtime", document)
