"""The rest of the account, as the hosts need it: S3 objects, roles, logs, metrics and alarms, held by moto.

Called in process, not over HTTP: a model of a gigabyte is not copied through a socket to come back to where it was.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend, MetricDatumBase, cloudwatch_backends
from moto.core.exceptions import ServiceException
from moto.iam.access_control import PermissionResult
from moto.iam.models import iam_backends
from moto.logs.models import LogsBackend, logs_backends
from moto.s3.models import FakeKey, S3Backend, s3_backends
from moto.sts.models import sts_backends

from serving.localaws import permits
from serving.localaws.errors import AwsError

ACCOUNT = "123456789012"  # moto's only account unless it is told otherwise
PARTITION = "aws"


ROOT_KEY, ROOT_SECRET = "local", "local"
TASK_KEY, TASK_SECRET = "ASIALOCALSLIPWAY0000", "local"  # what functions and containers run with


def secret_of(key: str) -> str | None:
    """The secret of an access key: the account's own, a user's, or one that STS gave; None for an unknown one."""
    fixed = {ROOT_KEY: ROOT_SECRET, TASK_KEY: TASK_SECRET}
    if key in fixed:
        return fixed[key]
    user = iam_backends[ACCOUNT][PARTITION].access_keys.get(key)
    if user is not None:
        return str(user.secret_access_key)
    assumed = sts_backends[ACCOUNT][PARTITION].get_assumed_role_from_access_key(key)
    return str(assumed.secret_access_key) if assumed else None


class ObjectMissing(Exception):
    """Is there no such object or bucket? ``code`` is S3's own word for it."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Location:
    """A place in S3: an object, or a prefix."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> Location:
        """Read ``s3://bucket/key``."""
        if not uri.startswith("s3://"):
            raise AwsError("ValidationException", f"{uri} is no S3 address")
        bucket, _, key = uri[5:].partition("/")
        return cls(bucket, key)

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def _s3() -> S3Backend:
    return s3_backends[ACCOUNT][PARTITION]


def count_buckets() -> int:
    """How many buckets are there?"""
    return len(_s3().buckets)


def read_object(place: Location, version: str | None = None) -> bytes:
    """An object's bytes.

    Raises:
        ObjectMissing: There is none.
    """
    try:
        found = _s3().get_object(place.bucket, place.key, version_id=version)
    except ServiceException as error:
        raise ObjectMissing(error.code, error.message) from error
    if not isinstance(found, FakeKey):
        raise ObjectMissing("NoSuchKey", "The specified key does not exist.")
    return bytes(found.value)


def write_object(place: Location, content: bytes) -> None:
    """Put an object, as the service's own role would."""
    _s3().put_object(place.bucket, place.key, content)


def list_objects(prefix: Location) -> Iterator[Location]:
    """Every object whose key starts so, in order.

    Raises:
        ObjectMissing: There is no such bucket.
    """
    try:
        bucket = _s3().get_bucket(prefix.bucket)
    except ServiceException as error:
        raise ObjectMissing(error.code, error.message) from error
    for name in sorted(bucket.keys):
        if name.startswith(prefix.key) and isinstance(bucket.keys[name], FakeKey):
            yield Location(prefix.bucket, name)


def role_trusts(arn: str, principal: str) -> bool:
    """May this service assume the role? False also when the role does not exist."""
    roles = iam_backends[ACCOUNT][PARTITION].get_roles()
    role = next((role for role in roles if role.arn == arn), None)
    if role is None:
        return False
    policy = json.loads(role.assume_role_policy_document)
    return any(_trusted(statement, principal) for statement in _listed(policy.get("Statement", [])))


def role_may(arn: str, action: str, resource: str) -> bool:
    """Do the policies of this role allow an action?"""
    role = next((role for role in iam_backends[ACCOUNT][PARTITION].get_roles() if role.arn == arn), None)
    if role is None:
        return False
    return permits.decision(permits.documents(role), action, resource) is PermissionResult.PERMITTED


def _trusted(statement: Mapping[str, Any], principal: str) -> bool:
    services = _listed((statement.get("Principal") or {}).get("Service", []))
    return statement.get("Effect") == "Allow" and principal in services


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _logs(region: str) -> LogsBackend:
    return logs_backends[ACCOUNT][region]


def write_log(region: str, group: str, stream: str, lines: Sequence[str]) -> None:
    """Append lines to a CloudWatch log stream, making group and stream when they are missing."""
    backend = _logs(region)
    backend.ensure_log_group(group)
    if stream not in backend.groups[group].streams:
        backend.create_log_stream(group, stream)
    now = int(time.time() * 1000)
    backend.put_log_events(group, stream, [{"timestamp": now, "message": line} for line in lines if line])


def _cloudwatch(region: str) -> CloudWatchBackend:
    return cloudwatch_backends[ACCOUNT][region]


def put_metrics(region: str, namespace: str, values: Mapping[str, float], dimensions: Mapping[str, str]) -> None:
    """Record metric values, as the services do for every request."""
    named = [{"Name": name, "Value": value} for name, value in dimensions.items()]
    data = [{"MetricName": name, "Value": value, "Dimensions": named} for name, value in values.items()]
    _cloudwatch(region).put_metric_data(namespace, data)


def metric_data(region: str) -> list[MetricDatumBase]:
    """Every metric value of the account's own, oldest first."""
    return list(_cloudwatch(region).metric_data)


def alarms(region: str) -> list[Alarm]:
    """Every metric alarm of a region."""
    return list(_cloudwatch(region).alarms.values())


def regions_with_alarms() -> list[str]:
    """The regions in which somebody made an alarm."""
    backends = cloudwatch_backends[ACCOUNT]
    return [region for region in list(backends) if backends[region].alarms]


def epoch(moment: datetime) -> float:
    """Seconds since the epoch; moto's times are UTC without saying so."""
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
