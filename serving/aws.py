"""Every call to AWS, typed, with AWS's errors turned into ours. The only module that imports boto3."""

from __future__ import annotations

import base64
import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from .errors import AwsConflict, AwsFailed, AwsMissing

MISSING = {"404", "NoSuchKey", "NoSuchBucket", "NotFound", "ResourceNotFoundException"}
UNKNOWN_VALUE = {"InvalidParameterValueException", "ValidationException"}
CONFLICT = {"412", "PreconditionFailed", "PreconditionFailedException", "ResourceConflictException",
            "ConditionalRequestConflict"}


@dataclass(frozen=True, slots=True)
class ObjectState:
    """What lies under one S3 key? ``sha256`` is hexadecimal, empty when S3 holds no checksum."""

    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class FunctionState:
    """What is a Lambda function or one published version of it?

    Attributes:
        code_sha256: base64, as Lambda gives it.
        revision: changes with every change; sent back so that nobody else's change is overwritten.
    """

    name: str
    version: str
    description: str
    code_sha256: str
    runtime: str
    architecture: str
    handler: str
    memory: int
    timeout: int
    role: str
    layers: tuple[str, ...]
    revision: str
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AliasState:
    """Which version does an alias point at? ``shares`` are the versions beside it with their share of the requests."""

    name: str
    version: str
    revision: str
    shares: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class LayerState:
    """What is one published version of a layer?"""

    arn: str
    description: str


@dataclass(frozen=True, slots=True)
class Offer:
    """Does Lambda offer a runtime? ``instead`` names those it offers when it does not."""

    layers: tuple[LayerState, ...]
    instead: tuple[str, ...] = ()


class Aws:
    """AWS as this project uses it. Endpoint, region and credentials come from boto3's own chain.

    Each method maps botocore's errors: AwsMissing, AwsConflict, or AwsFailed with AWS's code and message.
    """

    def require_credentials(self) -> None:
        """Are a region and credentials at hand? Looked at here, without asking AWS.

        Raises:
            AwsFailed: they are not.
        """
        import boto3
        from botocore.exceptions import NoCredentialsError

        with _mapped("credentials"):
            if boto3.Session().get_credentials() is None:
                raise NoCredentialsError
            _ = self._lambda

    def account(self) -> str:
        """Which account do these credentials belong to? Asked once."""
        return self._owner

    @property
    def region(self) -> str:
        """Which region is configured?"""
        return str(self._lambda.meta.region_name)

    # S3

    def object(self, bucket: str, key: str) -> ObjectState | None:
        """What lies under this key? None when nothing does."""
        with contextlib.suppress(AwsMissing), _mapped(f"s3:HeadObject {bucket}/{key}"):
            head = self._s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED",
                                        ExpectedBucketOwner=self._owner)
            checksum = head.get("ChecksumSHA256", "")
            return ObjectState(int(head["ContentLength"]), base64.b64decode(checksum).hex())
        return None

    def create_object(self, bucket: str, key: str, path: Path, sha256: str) -> None:
        """Put a file under a key that must still be free; S3 verifies its SHA-256.

        Raises:
            AwsConflict: something lies there already.
        """
        checksum = base64.b64encode(bytes.fromhex(sha256)).decode()
        with _mapped(f"s3:PutObject {bucket}/{key}"), path.open("rb") as body:
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ChecksumSHA256=checksum,
                                ExpectedBucketOwner=self._owner)

    def create_bytes(self, bucket: str, key: str, body: bytes) -> None:
        """Put bytes under a key that must still be free; S3 verifies their SHA-256.

        Raises:
            AwsConflict: something lies there already.
        """
        with _mapped(f"s3:PutObject {bucket}/{key}"):
            self._s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*", ChecksumAlgorithm="SHA256",
                                ExpectedBucketOwner=self._owner)

    def keys(self, bucket: str, prefix: str) -> tuple[str, ...]:
        """Which keys start like this, in their order?"""
        with _mapped(f"s3:ListObjectsV2 {bucket}/{prefix}"):
            pages = self._s3.get_paginator("list_objects_v2").paginate(
                Bucket=bucket, Prefix=prefix, ExpectedBucketOwner=self._owner)
            return tuple(entry["Key"] for page in pages for entry in page.get("Contents", ()))

    def read(self, bucket: str, key: str) -> bytes:
        """What lies under this key?

        Raises:
            AwsMissing: nothing does.
        """
        with _mapped(f"s3:GetObject {bucket}/{key}"):
            body: bytes = self._s3.get_object(Bucket=bucket, Key=key, ExpectedBucketOwner=self._owner)["Body"].read()
            return body

    # Lambda

    def function_zip(self, name: str, qualifier: str) -> bytes:
        """Which code does this version run? The zip as Lambda gives it back."""
        with _mapped(f"lambda:GetFunction {name}:{qualifier}"):
            where = self._lambda.get_function(FunctionName=name, Qualifier=qualifier)["Code"]["Location"]
        return _fetched(where)

    def layer_zip(self, arn: str) -> bytes:
        """What does this version of a layer hold? The zip as Lambda gives it back."""
        with _mapped(f"lambda:GetLayerVersionByArn {arn}"):
            return _fetched(self._lambda.get_layer_version_by_arn(Arn=arn)["Content"]["Location"])

    def layers(self, name: str, runtime: str) -> Offer:
        """Which versions of a layer are published for this runtime, and is the runtime offered at all?"""
        try:
            with _mapped(f"lambda:ListLayerVersions {name}"):
                pages = self._lambda.get_paginator("list_layer_versions").paginate(
                    LayerName=name, CompatibleRuntime=runtime)
                found = [LayerState(v["LayerVersionArn"], v.get("Description", ""))
                         for page in pages for v in page["LayerVersions"]]
        except AwsMissing:
            return Offer(())
        except AwsFailed as error:
            if error.code in UNKNOWN_VALUE and "enum value set" in str(error):
                named = str(error).rsplit("[", 1)[-1].split("]")[0]
                return Offer((), tuple(sorted(n.strip() for n in named.split(",") if "python" in n)))
            raise
        return Offer(tuple(found))

    def publish_layer(self, name: str, *, bucket: str, key: str, runtime: str, architecture: str,
                      description: str) -> str:
        """Publish a layer from S3 and give its ARN."""
        with _mapped(f"lambda:PublishLayerVersion {name}"):
            return str(self._lambda.publish_layer_version(
                LayerName=name, Content={"S3Bucket": bucket, "S3Key": key}, Description=description,
                CompatibleRuntimes=[runtime], CompatibleArchitectures=[architecture])["LayerVersionArn"])

    def function(self, name: str, qualifier: str | None = None) -> FunctionState | None:
        """What is this function, or the version that the qualifier names? None when there is none."""
        chosen = {"Qualifier": qualifier} if qualifier else {}
        with contextlib.suppress(AwsMissing), _mapped(f"lambda:GetFunctionConfiguration {name}"):
            return _function(self._lambda.get_function_configuration(FunctionName=name, **chosen))
        return None

    def versions(self, name: str) -> tuple[FunctionState, ...]:
        """Which versions of this function are published, oldest first?"""
        with contextlib.suppress(AwsMissing), _mapped(f"lambda:ListVersionsByFunction {name}"):
            pages = self._lambda.get_paginator("list_versions_by_function").paginate(FunctionName=name)
            return tuple(_function(v) for page in pages for v in page["Versions"] if v["Version"] != "$LATEST")
        return ()

    def alias(self, function: str, name: str) -> AliasState | None:
        """Where does this alias point? None when there is none."""
        with contextlib.suppress(AwsMissing), _mapped(f"lambda:GetAlias {function}:{name}"):
            alias = self._lambda.get_alias(FunctionName=function, Name=name)
            shares = (alias.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
            return AliasState(alias["Name"], alias["FunctionVersion"], alias.get("RevisionId", ""),
                              tuple(sorted(shares.items())))
        return None

    def create_function(self, wanted: FunctionState, *, bucket: str, key: str) -> FunctionState:
        """Create a function from code in S3 and wait until it is active."""
        with _mapped(f"lambda:CreateFunction {wanted.name}"):
            made = self._lambda.create_function(
                FunctionName=wanted.name, Code={"S3Bucket": bucket, "S3Key": key},
                Architectures=[wanted.architecture], **_configuration(wanted))
            self._lambda.get_waiter("function_active_v2").wait(
                FunctionName=wanted.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
            return _function(made)

    def update_code(self, wanted: FunctionState, *, bucket: str, key: str, revision: str) -> FunctionState:
        """Give a function other code; refused when it is no longer at this revision."""
        with _mapped(f"lambda:UpdateFunctionCode {wanted.name}"):
            made = self._lambda.update_function_code(
                FunctionName=wanted.name, S3Bucket=bucket, S3Key=key, RevisionId=revision,
                Architectures=[wanted.architecture])
            return self._updated(_function(made))

    def update_configuration(self, wanted: FunctionState, *, revision: str) -> FunctionState:
        """Give a function another configuration; refused when it is no longer at this revision."""
        with _mapped(f"lambda:UpdateFunctionConfiguration {wanted.name}"):
            made = self._lambda.update_function_configuration(
                FunctionName=wanted.name, RevisionId=revision, **_configuration(wanted))
            return self._updated(_function(made))

    def publish_version(self, function: str, *, code_sha256: str, description: str) -> FunctionState:
        """Publish the function as it is, if its code is what it should be."""
        with _mapped(f"lambda:PublishVersion {function}"):
            return _function(self._lambda.publish_version(
                FunctionName=function, CodeSha256=code_sha256, Description=description))

    def create_alias(self, function: str, name: str, version: str) -> None:
        """Make an alias that points at a version."""
        with _mapped(f"lambda:CreateAlias {function}:{name}"):
            self._lambda.create_alias(FunctionName=function, Name=name, FunctionVersion=version)

    def move_alias(self, function: str, name: str, version: str, *, revision: str,
                   shares: Mapping[str, float] | None = None) -> None:
        """Point an alias elsewhere, and a share of its requests beside; refused when it moved since it was read."""
        with _mapped(f"lambda:UpdateAlias {function}:{name}"):
            self._lambda.update_alias(FunctionName=function, Name=name, FunctionVersion=version, RevisionId=revision,
                                      RoutingConfig={"AdditionalVersionWeights": dict(shares or {})})

    def answered(self, function: str, alias: str, version: str, since: datetime) -> tuple[int, int]:
        """How many requests did a version behind an alias answer since then, and how many of them failed?"""
        dimensions = [{"Name": "FunctionName", "Value": function}, {"Name": "Resource", "Value": f"{function}:{alias}"},
                      {"Name": "ExecutedVersion", "Value": version}]
        with _mapped(f"cloudwatch:GetMetricStatistics {function}"):
            found = [sum(point["Sum"] for point in self._cloudwatch.get_metric_statistics(
                Namespace="AWS/Lambda", MetricName=metric, Dimensions=dimensions, Statistics=["Sum"], Period=60,
                StartTime=since.replace(second=0, microsecond=0), EndTime=datetime.now(UTC) + timedelta(minutes=1),
            )["Datapoints"]) for metric in ("Invocations", "Errors")]
            return int(found[0]), int(found[1])

    def invoke(self, function: str, qualifier: str, payload: bytes) -> bytes:
        """What does the function answer to this JSON?

        Raises:
            AwsFailed: the function raised, ran out of time or of memory.
        """
        with _mapped(f"lambda:Invoke {function}:{qualifier}"):
            answer = self._lambda.invoke(FunctionName=function, Qualifier=qualifier, Payload=payload)
            body: bytes = answer["Payload"].read()
        if "FunctionError" in answer:
            fault = json.loads(body or b"{}")
            raise AwsFailed(f"{function}:{qualifier} failed: {fault.get('errorMessage', fault)}", code="FunctionError")
        return body

    def role_arn(self, role: str) -> str:
        """What is the ARN of this role, given its name or its ARN?"""
        return role if role.startswith("arn:") else f"arn:aws:iam::{self._owner}:role/{role}"

    @cached_property
    def _owner(self) -> str:
        with _mapped("sts:GetCallerIdentity"):
            return str(self._sts.get_caller_identity()["Account"])

    @cached_property
    def _s3(self) -> Any:
        return _client("s3")

    @cached_property
    def _lambda(self) -> Any:
        return _client("lambda")

    @cached_property
    def _cloudwatch(self) -> Any:
        return _client("cloudwatch")

    @cached_property
    def _sts(self) -> Any:
        return _client("sts")

    def _updated(self, state: FunctionState) -> FunctionState:
        self._lambda.get_waiter("function_updated_v2").wait(
            FunctionName=state.name, WaiterConfig={"Delay": 1, "MaxAttempts": 120})
        return self.function(state.name) or state


def _client(service: str) -> Any:
    import boto3
    from botocore.config import Config

    # 60 s outlasts a synchronous invocation with our default timeout of 30. How often is retried is boto3's own
    # setting (AWS_MAX_ATTEMPTS); `standard` also retries throttling, which the legacy default partly does not.
    mode = {} if "AWS_RETRY_MODE" in os.environ else {"retries": {"mode": "standard"}}
    config = Config(connect_timeout=5, read_timeout=60, **mode)
    with _mapped(service):
        return boto3.client(service, config=config, endpoint_url=os.environ.get("AWS_ENDPOINT_URL") or None)


def _fetched(url: str) -> bytes:
    import urllib.request

    if not url.startswith(("https://", "http://127.0.0.1:", "http://localhost:")):
        raise AwsFailed(f"will not fetch code from {url.split('?')[0]}: not https")
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - the scheme was looked at above
            body: bytes = answer.read()
            return body
    except OSError as error:
        raise AwsFailed(f"{url.split('?')[0]}: {error}") from None


@contextlib.contextmanager
def _mapped(what: str) -> Iterator[None]:
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        EndpointConnectionError,
        NoCredentialsError,
        NoRegionError,
    )

    try:
        yield
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        message = f"{what}: {code}: {error.response.get('Error', {}).get('Message', '')}"
        kind = AwsMissing if code in MISSING else AwsConflict if code in CONFLICT else AwsFailed
        raise kind(message, code=code) from None
    except NoRegionError:
        raise AwsFailed(f"{what}: no region is set. Next: export AWS_DEFAULT_REGION=us-east-1, or another") from None
    except NoCredentialsError:
        raise AwsFailed(f"{what}: no credentials. Next: `aws configure`, or `slipway local` for none at all") from None
    except EndpointConnectionError as error:
        local = "start `slipway local`, or unset AWS_ENDPOINT_URL" if "AWS_ENDPOINT_URL" in os.environ else "try again"
        raise AwsFailed(f"{what}: {error}. Next: {local}") from None
    except BotoCoreError as error:
        raise AwsFailed(f"{what}: {error}") from None


def _configuration(wanted: FunctionState) -> dict[str, Any]:
    return {"Runtime": wanted.runtime, "Handler": wanted.handler, "MemorySize": wanted.memory, "Role": wanted.role,
            "Timeout": wanted.timeout, "Layers": list(wanted.layers), "Description": wanted.description,
            "Environment": {"Variables": dict(wanted.environment)}}


def _function(raw: dict[str, Any]) -> FunctionState:
    return FunctionState(
        name=raw["FunctionName"], version=raw.get("Version", "$LATEST"), description=raw.get("Description", ""),
        code_sha256=raw["CodeSha256"], runtime=raw["Runtime"], handler=raw["Handler"], memory=int(raw["MemorySize"]),
        architecture=(raw.get("Architectures") or ["x86_64"])[0], timeout=int(raw["Timeout"]), role=raw["Role"],
        layers=tuple(layer["Arn"] for layer in raw.get("Layers") or ()), revision=raw.get("RevisionId", ""),
        environment=tuple(sorted((raw.get("Environment") or {}).get("Variables", {}).items())))
