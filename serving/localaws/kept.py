"""What moto holds beside S3's objects, as JSON, and back: keys, roles and their policies, buckets' settings, alarms.

moto 5.2.5 keeps all of it in memory only. Not kept are asymmetric keys, alarms on metric math, users, logs and metric
values.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from moto.cloudwatch.models import Alarm, cloudwatch_backends
from moto.iam.models import IAMBackend, Role, iam_backends
from moto.kms.models import Key, kms_backends
from moto.s3.models import FakeBucket, S3Backend, s3_backends

from serving.localaws.account import ACCOUNT, PARTITION

Json = dict[str, Any]

_ALARM = (
    "name", "namespace", "metric_name", "comparison_operator", "evaluation_periods", "datapoints_to_alarm", "period",
    "threshold", "statistic", "extended_statistic", "description", "alarm_actions", "ok_actions",
    "insufficient_data_actions", "unit", "actions_enabled", "treat_missing_data",
    "evaluate_low_sample_count_percentile", "threshold_metric_id", "rule",
)  # fmt: skip
_KEY = ("id", "enabled", "key_state", "key_rotation_status", "creation_date", "key_usage", "multi_region")
_BLOCKS = ("block_public_acls", "ignore_public_acls", "block_public_policy", "restrict_public_buckets")
_AWS_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def dump() -> Json:
    """Everything of it."""
    return {
        "keys": [_key(key) for backend in _regions(kms_backends).values() for key in list(backend.keys.values())
                 if key.key_spec == "SYMMETRIC_DEFAULT" and key.key_manager == "CUSTOMER"],
        "policies": [_policy(policy) for arn, policy in list(_iam().managed_policies.items()) if f":{ACCOUNT}:" in arn],
        "roles": [_role(role) for role in list(_iam().roles.values())],
        "buckets": {bucket.name: _settings(bucket) for bucket in list(_s3().buckets.values())},
        "alarms": {region: [_alarm(alarm) for alarm in list(backend.alarms.values())
                            if alarm.rule is None and not alarm.metric_data_queries]
                   for region, backend in _regions(cloudwatch_backends).items()},
    }  # fmt: skip


def load(data: Mapping[str, Any]) -> None:
    """Put it back; buckets are there already."""
    for key in data["keys"]:
        _restore_key(key)
    for policy in data["policies"]:
        _iam().create_policy(policy["description"], policy["path"], policy["document"], policy["name"], policy["tags"])
    for role in data["roles"]:
        _restore_role(role)
    for name, settings in data["buckets"].items():
        _restore_settings(name, settings)
    for region, alarms in data["alarms"].items():
        for alarm in alarms:
            _restore_alarm(region, alarm)


def _iam() -> IAMBackend:
    return iam_backends[ACCOUNT][PARTITION]


def _s3() -> S3Backend:
    return s3_backends[ACCOUNT][PARTITION]


def _regions(backends: Any) -> dict[str, Any]:
    """The regions in which something of this service was ever asked for."""
    account = backends[ACCOUNT]
    return {region: account[region] for region in list(account)}


def _key(key: Key) -> Json:
    material = base64.b64encode(key.key_material).decode()
    told = {name: getattr(key, name) for name in ("region", "policy", "description", *_KEY)}
    return {**told, "material": material, "aliases": sorted(key.aliases)}


def _restore_key(data: Json) -> None:
    backend = kms_backends[ACCOUNT][data["region"]]
    key = backend.create_key(data["policy"], "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", data["description"], None, False)
    del backend.keys[key.id]  # moto chose its name
    key.arn = key.arn.replace(key.id, data["id"])
    for name in _KEY:
        setattr(key, name, data[name])
    key.key_material = base64.b64decode(data["material"])
    backend.keys[key.id] = key
    for alias in data["aliases"]:
        backend.create_alias(key.id, alias)


def _policy(policy: Any) -> Json:
    document = next(version.document for version in policy.versions if version.is_default)
    tags = list(policy.tags.values())
    return {"name": policy.name, "path": policy.path, "description": policy.description, "document": document,
            "tags": tags}  # fmt: skip


def _role(role: Role) -> Json:
    return {
        "name": role.name,
        "path": role.path,
        "trust": role.assume_role_policy_document,
        "boundary": role.permissions_boundary_arn,
        "description": role.description,
        "tags": role.tags,
        "session": role.max_session_duration,
        "policies": dict(role.policies),
        "attached": sorted(role.managed_policies),
    }


def _restore_role(data: Json) -> None:
    made = _iam().create_role(
        role_name=data["name"],
        assume_role_policy_document=data["trust"],
        path=data["path"],
        permissions_boundary=data["boundary"],
        description=data["description"],
        tags=data["tags"],
        max_session_duration=data["session"],
    )
    for name, document in data["policies"].items():
        made.put_policy(name, document)
    for arn in data["attached"]:
        _iam().attach_role_policy(arn, data["name"])


def _settings(bucket: FakeBucket) -> Json:
    block = bucket.public_access_block
    return {
        "policy": bucket.policy.decode() if bucket.policy else None,
        "encryption": bucket.encryption,
        "block": [getattr(block, name) for name in _BLOCKS] if block else None,
        "ownership": bucket.ownership_rule,
        "tags": _s3().tagger.get_tag_dict_for_resource(bucket.arn),
    }


def _restore_settings(name: str, data: Json) -> None:
    bucket = _s3().buckets[name]
    bucket.policy = data["policy"].encode() if data["policy"] else None
    bucket.encryption, bucket.ownership_rule = data["encryption"], data["ownership"]
    if data["block"]:
        _s3().put_public_access_block(name, dict(zip(_AWS_BLOCKS, data["block"], strict=True)))
    if data["tags"]:
        _s3().put_bucket_tagging(name, data["tags"])


def _alarm(alarm: Alarm) -> Json:
    dimensions = [{"Name": one.name, "Value": one.value} for one in alarm.dimensions]
    state = {"value": alarm.state_value, "reason": alarm.state_reason, "data": alarm.state_reason_data,
             "updated": alarm.state_updated_timestamp.isoformat()}  # fmt: skip
    told = {name: getattr(alarm, name) for name in _ALARM}
    return {**told, "dimensions": dimensions, "state": state}


def _restore_alarm(region: str, data: Json) -> None:
    state = data.pop("state")
    made = cloudwatch_backends[ACCOUNT][region].put_metric_alarm(**data)
    made.state_value, made.state_reason, made.state_reason_data = state["value"], state["reason"], state["data"]
    made.state_updated_timestamp = datetime.fromisoformat(state["updated"]).replace(tzinfo=None)
