"""SageMaker: models, endpoint configurations, endpoints, and what an endpoint answers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from ..errors import AwsConflict, AwsFailed
from .session import client, mapped

T = TypeVar("T")
# SageMaker has no error code for what is missing or there already; these are its words.
ABSENT, TAKEN, BUSY = "Could not find", "Cannot create already existing", "Cannot update in-progress"


@dataclass(frozen=True, slots=True)
class ModelState:
    """What is a SageMaker model? It cannot be changed, only deleted and made again.

    Attributes:
        data: the S3 address of its model.tar.gz.
        isolated: whether its container reaches no network.
        containers: how many it has; we make it with one.
    """

    name: str
    image: str
    data: str
    role: str
    environment: tuple[tuple[str, str], ...]
    isolated: bool
    containers: int = 1


# MaxResults of SageMaker's List operations: 10 unless it is said, at most 100 (API reference, read 2026-11).
_PAGES: dict[str, Any] = {"PaginationConfig": {"PageSize": 100}}


@dataclass(frozen=True, slots=True)
class VariantState:
    """What is one variant of an endpoint configuration? ``memory`` (MB) is 0 unless it is serverless."""

    name: str
    model: str
    instance_type: str = ""
    instances: int = 0
    memory: int = 0
    concurrency: int = 0
    weight: float = 1.0


@dataclass(frozen=True, slots=True)
class LaterState:
    """How does an endpoint answer later, to S3?

    Attributes:
        to, failed: the S3 addresses under which answers and failures lie.
        kms: the key that encrypts them, empty for the bucket's own.
        at_once: requests that an instance answers at once; 0 leaves it to SageMaker.
        success_topic, error_topic: SNS topics that are told, empty for none.
    """

    to: str
    failed: str
    kms: str = ""
    at_once: int = 0
    success_topic: str = ""
    error_topic: str = ""


@dataclass(frozen=True, slots=True)
class ConfigState:
    """What is an endpoint configuration? It cannot be changed, only deleted and made again.

    Attributes:
        capture: percent of the requests that are captured, 0 for none.
        capture_to: the S3 address where they go.
        kms: the key of the instances' volumes and of what is captured, empty for AWS's own.
        shadows: variants that get copies of the requests, as many as their weight says.
        later: None when it answers at once.
    """

    name: str
    variants: tuple[VariantState, ...]
    capture: int = 0
    capture_to: str = ""
    kms: str = ""
    shadows: tuple[VariantState, ...] = ()
    later: LaterState | None = None


@dataclass(frozen=True, slots=True)
class EndpointState:
    """How is an endpoint now?

    Attributes:
        config: the configuration that serves, also while another one is on its way in.
        status: in SageMaker's words.
        reason: why it failed or went back, in SageMaker's words.
        weights: each variant's share of the requests.
        serverless: whether a variant runs without instances.
        answers_to: the S3 address under which answers lie, empty when it answers at once.
    """

    name: str
    config: str
    status: str
    reason: str
    weights: tuple[tuple[str, float], ...]
    serverless: bool
    answers_to: str = ""


@dataclass(frozen=True, slots=True)
class Guardrails:
    """How does an update of an endpoint move the requests?

    Attributes:
        kind: ``ALL_AT_ONCE``, ``CANARY`` or ``LINEAR``.
        percent: of the new fleet, for each step.
        wait: seconds that each step is watched.
        keep: seconds that the old fleet is kept after the last step.
        alarms: any of these in ALARM brings the old fleet back.
    """

    kind: str
    percent: int
    wait: int
    keep: int
    alarms: tuple[str, ...]


class Endpoints:
    """SageMaker's hosting as this project uses it."""

    def model(self, name: str) -> ModelState | None:
        """What is the model with this name? None when there is none."""
        return _if_there(lambda: _model(self._call("describe_model", name, ModelName=name)))

    def config(self, name: str) -> ConfigState | None:
        """What is the endpoint configuration with this name? None when there is none."""
        return _if_there(lambda: _config(self._call("describe_endpoint_config", name, EndpointConfigName=name)))

    def endpoint(self, name: str) -> EndpointState | None:
        """How is the endpoint with this name? None when there is none."""
        return _if_there(lambda: _endpoint(self._call("describe_endpoint", name, EndpointName=name)))

    def configs(self, part: str) -> list[str]:
        """Which endpoint configurations have a name that holds this?"""
        with mapped(f"sagemaker:ListEndpointConfigs {part}"):
            pages = self._sagemaker.get_paginator("list_endpoint_configs").paginate(NameContains=part, **_PAGES)
            return [one["EndpointConfigName"] for page in pages for one in page["EndpointConfigs"]]

    def models(self, part: str) -> list[str]:
        """Which models have a name that holds this?"""
        with mapped(f"sagemaker:ListModels {part}"):
            pages = self._sagemaker.get_paginator("list_models").paginate(NameContains=part, **_PAGES)
            return [one["ModelName"] for page in pages for one in page["Models"]]

    def create_model(self, wanted: ModelState) -> None:
        """Make a model.

        Raises:
            AwsConflict: somebody else just made one of this name.
        """
        container = {"Image": wanted.image, "ModelDataUrl": wanted.data, "Environment": dict(wanted.environment)}
        self._call("create_model", wanted.name, ModelName=wanted.name, PrimaryContainer=container,
                   ExecutionRoleArn=wanted.role, EnableNetworkIsolation=wanted.isolated)

    def create_config(self, wanted: ConfigState) -> None:
        """Make an endpoint configuration.

        Raises:
            AwsConflict: somebody else just made one of this name.
        """
        key = {"KmsKeyId": wanted.kms} if wanted.kms else {}
        extra: dict[str, Any] = dict(key)
        if wanted.capture:
            extra["DataCaptureConfig"] = {
                "EnableCapture": True, "InitialSamplingPercentage": wanted.capture,
                "DestinationS3Uri": wanted.capture_to, **key,
                "CaptureOptions": [{"CaptureMode": "Input"}, {"CaptureMode": "Output"}],
                "CaptureContentTypeHeader": {"JsonContentTypes": ["application/json"]}}
        if wanted.later:
            extra["AsyncInferenceConfig"] = _later_members(wanted.later)
        if wanted.shadows:
            extra["ShadowProductionVariants"] = [_variant_members(v) for v in wanted.shadows]
        self._call("create_endpoint_config", wanted.name, EndpointConfigName=wanted.name,
                   ProductionVariants=[_variant_members(v) for v in wanted.variants], **extra)

    def create_endpoint(self, name: str, config: str) -> None:
        """Begin to make an endpoint."""
        self._call("create_endpoint", name, EndpointName=name, EndpointConfigName=config)

    def update_endpoint(self, name: str, config: str, *, guardrails: Guardrails | None, resize: bool) -> None:
        """Begin to move an endpoint to another configuration.

        Args:
            name: the endpoint.
            config: the configuration.
            guardrails: how the requests move; None for all at once, unwatched.
            resize: whether the number of instances is the configuration's; otherwise what autoscaling made of it stays.
        """
        own = ["DesiredWeight", *(["DesiredInstanceCount"] if resize else [])]
        policy = {"DeploymentConfig": _policy(guardrails)} if guardrails else {}
        self._call("update_endpoint", name, EndpointName=name, EndpointConfigName=config,
                   RetainAllVariantProperties=True,
                   ExcludeRetainedVariantProperties=[{"VariantPropertyType": kind} for kind in own], **policy)

    def reweigh(self, name: str, variant: str, weight: float) -> None:
        """Begin to give a variant another share of the requests."""
        self._call("update_endpoint_weights_and_capacities", name, EndpointName=name,
                   DesiredWeightsAndCapacities=[{"VariantName": variant, "DesiredWeight": weight}])

    def delete_endpoint(self, name: str) -> None:
        """Begin to end an endpoint; its configuration and model stay."""
        self._call("delete_endpoint", name, EndpointName=name)

    def delete_config(self, name: str) -> None:
        """Delete an endpoint configuration."""
        self._call("delete_endpoint_config", name, EndpointConfigName=name)

    def delete_model(self, name: str) -> None:
        """Delete a model; its archive stays."""
        self._call("delete_model", name, ModelName=name)

    def invoke(self, name: str, payload: bytes) -> bytes:
        """What does the endpoint answer to this JSON? A refusal of our own server is an answer as well.

        Raises:
            AwsFailed: the container failed, or did not answer in time.
        """
        with mapped(f"sagemaker:InvokeEndpoint {name}"):
            try:
                answer = self._runtime.invoke_endpoint(
                    EndpointName=name, Body=payload, ContentType="application/json", Accept="application/json")
            except self._runtime.exceptions.ModelError as error:
                if _is_refusal(error.response):
                    return str(error.response["OriginalMessage"]).encode()
                raise
            body: bytes = answer["Body"].read()
            return body

    def invoke_later(self, name: str, source: str) -> tuple[str, str]:
        """Let an asynchronous endpoint answer the JSON that lies at this S3 address.

        Returns:
            The S3 addresses where the answer will lie, or what went wrong.
        """
        with mapped(f"sagemaker:InvokeEndpointAsync {name}"):
            said = self._runtime.invoke_endpoint_async(
                EndpointName=name, InputLocation=source, ContentType="application/json", Accept="application/json")
            return said["OutputLocation"], said.get("FailureLocation", "")

    def _call(self, operation: str, what: str, **members: Any) -> dict[str, Any]:
        title = "".join(part.capitalize() for part in operation.split("_"))
        try:
            with mapped(f"sagemaker:{title} {what}"):
                answer: dict[str, Any] = getattr(self._sagemaker, operation)(**members)
                return answer
        except AwsFailed as error:
            if TAKEN in str(error) or BUSY in str(error):
                raise AwsConflict(f"{error}. Next: slipway status, then run this again", code=error.code) from None
            raise

    @cached_property
    def _sagemaker(self) -> Any:
        return client("sagemaker")

    @cached_property
    def _runtime(self) -> Any:
        return client("sagemaker-runtime")


def instance_types() -> tuple[str, ...]:
    """Which machines can an endpoint run on? As botocore knows SageMaker; AWS is not asked."""
    import botocore.session

    model = botocore.session.get_session().get_service_model("sagemaker")
    return tuple(model.shape_for("ProductionVariantInstanceType").enum)


def _if_there(ask: Callable[[], T]) -> T | None:
    try:
        return ask()
    except AwsFailed as error:
        if ABSENT in str(error):
            return None
        raise


def _is_refusal(response: Mapping[str, Any]) -> bool:
    if not 400 <= int(response.get("OriginalStatusCode", 0)) < 500:
        return False
    with contextlib.suppress(ValueError):
        return "error" in json.loads(response.get("OriginalMessage", ""))
    return False


def _variant_members(variant: VariantState) -> dict[str, Any]:
    members = {"VariantName": variant.name, "ModelName": variant.model, "InitialVariantWeight": variant.weight}
    if variant.memory:
        return members | {"ServerlessConfig": {"MemorySizeInMB": variant.memory, "MaxConcurrency": variant.concurrency}}
    return members | {"InstanceType": variant.instance_type, "InitialInstanceCount": variant.instances}


def _later_members(later: LaterState) -> dict[str, Any]:
    topics = {"SuccessTopic": later.success_topic, "ErrorTopic": later.error_topic}
    told = {member: topic for member, topic in topics.items() if topic}
    output = {"S3OutputPath": later.to, "S3FailurePath": later.failed,
              **({"KmsKeyId": later.kms} if later.kms else {}), **({"NotificationConfig": told} if told else {})}
    pace = {"ClientConfig": {"MaxConcurrentInvocationsPerInstance": later.at_once}} if later.at_once else {}
    return {"OutputConfig": output, **pace}


def _policy(guardrails: Guardrails) -> dict[str, Any]:
    routing: dict[str, Any] = {"Type": guardrails.kind, "WaitIntervalInSeconds": guardrails.wait}
    member = {"CANARY": "CanarySize", "LINEAR": "LinearStepSize"}.get(guardrails.kind)
    if member:
        routing[member] = {"Type": "CAPACITY_PERCENT", "Value": guardrails.percent}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": routing,
                                      "TerminationWaitInSeconds": guardrails.keep},
            "AutoRollbackConfiguration": {"Alarms": [{"AlarmName": name} for name in guardrails.alarms]}}


def _model(raw: dict[str, Any]) -> ModelState:
    containers = [raw["PrimaryContainer"]] if raw.get("PrimaryContainer") else raw.get("Containers") or [{}]
    first = containers[0]
    source = (first.get("ModelDataSource") or {}).get("S3DataSource") or {}
    return ModelState(
        name=raw["ModelName"], image=first.get("Image", ""), data=first.get("ModelDataUrl") or source.get("S3Uri", ""),
        role=raw.get("ExecutionRoleArn", ""), environment=tuple(sorted((first.get("Environment") or {}).items())),
        isolated=bool(raw.get("EnableNetworkIsolation")), containers=len(containers))


def _config(raw: dict[str, Any]) -> ConfigState:
    capture = raw.get("DataCaptureConfig") or {}
    on = bool(capture.get("EnableCapture"))
    return ConfigState(
        name=raw["EndpointConfigName"], variants=tuple(_variant(v) for v in raw["ProductionVariants"]),
        capture=int(capture["InitialSamplingPercentage"]) if on else 0,
        capture_to=capture["DestinationS3Uri"] if on else "", kms=raw.get("KmsKeyId", ""),
        shadows=tuple(_variant(v) for v in raw.get("ShadowProductionVariants") or ()),
        later=_later(raw.get("AsyncInferenceConfig")))


def _later(raw: dict[str, Any] | None) -> LaterState | None:
    if not raw:
        return None
    output, told = raw["OutputConfig"], raw["OutputConfig"].get("NotificationConfig") or {}
    return LaterState(
        to=output.get("S3OutputPath", ""), failed=output.get("S3FailurePath", ""), kms=output.get("KmsKeyId", ""),
        at_once=int((raw.get("ClientConfig") or {}).get("MaxConcurrentInvocationsPerInstance") or 0),
        success_topic=told.get("SuccessTopic", ""), error_topic=told.get("ErrorTopic", ""))


def _variant(raw: dict[str, Any]) -> VariantState:
    serverless = raw.get("ServerlessConfig") or {}
    return VariantState(
        name=raw["VariantName"], model=raw.get("ModelName", ""), instance_type=raw.get("InstanceType", ""),
        instances=0 if serverless else int(raw.get("InitialInstanceCount") or 0),
        memory=int(serverless.get("MemorySizeInMB") or 0), concurrency=int(serverless.get("MaxConcurrency") or 0),
        weight=float(raw.get("InitialVariantWeight", 1.0)))


def _endpoint(raw: dict[str, Any]) -> EndpointState:
    variants = raw.get("ProductionVariants") or ()
    return EndpointState(
        name=raw["EndpointName"], config=raw.get("EndpointConfigName", ""), status=raw["EndpointStatus"],
        reason=raw.get("FailureReason", ""),
        weights=tuple((v["VariantName"], float(v.get("CurrentWeight", 1.0))) for v in variants),
        serverless=any(v.get("CurrentServerlessConfig") for v in variants),
        answers_to=((raw.get("AsyncInferenceConfig") or {}).get("OutputConfig") or {}).get("S3OutputPath", ""))
