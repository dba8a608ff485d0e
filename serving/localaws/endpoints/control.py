"""SageMaker's control plane for endpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from serving.localaws.endpoints import rollout
from serving.localaws.endpoints.deployment import VariantFleet
from serving.localaws.endpoints.lifecycle import Lifecycle
from serving.localaws.endpoints.records import Endpoint, Settings, Status, Variant, invalid
from serving.localaws.endpoints.registry import Shelves, listed
from serving.localaws.pages import SAGEMAKER
from serving.localaws.protocol import Call, Members, Operation


class EndpointControl:
    """Makes, updates, describes and deletes endpoints."""

    def __init__(self, shelves: Shelves, lifecycle: Lifecycle) -> None:
        self._shelves = shelves
        self._lifecycle = lifecycle

    def operations(self) -> Mapping[str, Operation]:
        """SageMaker's names of what is done here."""
        return {
            "CreateEndpoint": self.create,
            "DescribeEndpoint": self.describe,
            "UpdateEndpoint": self.update,
            "UpdateEndpointWeightsAndCapacities": self.reweigh,
            "DeleteEndpoint": self.delete,
            "ListEndpoints": self.list_all,
        }

    def create(self, call: Call) -> Members:
        """CreateEndpoint."""
        params, shelf = call.params, self._shelves[call.region]
        name = params["EndpointName"]
        arn = shelf.arn("endpoint", name)
        if name in shelf.endpoints:
            raise invalid(f'Cannot create already existing endpoint "{arn}".')
        config = shelf.config(params["EndpointConfigName"])
        deployment = self._lifecycle.deployment(shelf, name, config, {})
        endpoint = shelf.endpoints[name] = Endpoint(name, arn, config)
        shelf.tags[arn] = {tag["Key"]: tag["Value"] for tag in params.get("Tags") or ()}
        self._lifecycle.create(endpoint, deployment)
        return {"EndpointArn": arn}

    def update(self, call: Call) -> Members:
        """UpdateEndpoint: blue/green, with the guardrails of DeploymentConfig."""
        params, shelf = call.params, self._shelves[call.region]
        endpoint = shelf.endpoint(params["EndpointName"])
        serving = _idle(endpoint)
        config = shelf.config(params["EndpointConfigName"])
        guardrails = params.get("DeploymentConfig")
        if params.get("RetainDeploymentConfig") and guardrails is None:
            guardrails = endpoint.guardrails
        if len({"AsyncInferenceConfig" in one.settings for one in (endpoint.config, config)}) > 1:
            raise invalid(
                f"The AsyncInferenceConfig parameter cannot be added to or removed from this endpoint {endpoint.name}."
            )
        old = tuple(fleet.variant for fleet in serving)
        new = tuple(Variant.of(settings) for settings in config.settings["ProductionVariants"])
        rollout.check_variants(old, new, guardrails)
        steps = rollout.plan(guardrails, sum(variant.count for variant in new))
        kept = _retained(old, new, params)
        deployment = self._lifecycle.deployment(shelf, endpoint.name, config, kept)
        endpoint.guardrails = guardrails
        self._lifecycle.update(endpoint, deployment, steps)
        return {"EndpointArn": endpoint.arn}

    def reweigh(self, call: Call) -> Members:
        """UpdateEndpointWeightsAndCapacities."""
        endpoint = self._shelves[call.region].endpoint(call.params["EndpointName"])
        current = {fleet.variant.name: fleet.variant for fleet in _idle(endpoint)}
        wanted = []
        for change in call.params["DesiredWeightsAndCapacities"]:
            name = change["VariantName"]
            if name not in current:
                raise invalid(f'The variant name(s) "{name}" is/are not present within endpoint configuration.')
            weight = float(change.get("DesiredWeight", current[name].weight))
            wanted.append(
                replace(current[name], weight=weight, count=change.get("DesiredInstanceCount") or current[name].count)
            )
        self._lifecycle.rescale(endpoint, wanted)
        return {"EndpointArn": endpoint.arn}

    def delete(self, call: Call) -> Members:
        """DeleteEndpoint: also one that is being created or updated."""
        shelf = self._shelves[call.region]
        endpoint = shelf.endpoint(call.params["EndpointName"])
        del shelf.endpoints[endpoint.name]
        self._lifecycle.delete(endpoint)
        return {}

    def list_all(self, call: Call) -> Members:
        """ListEndpoints, in pages."""
        found: list[Endpoint] = listed(self._shelves[call.region].endpoints, call.params)
        status = call.params.get("StatusEquals")
        page, more = SAGEMAKER.cut([one for one in found if status in (None, one.status.value)], call.params)
        return {
            "Endpoints": [
                {
                    "EndpointName": endpoint.name,
                    "EndpointArn": endpoint.arn,
                    "CreationTime": endpoint.created,
                    "LastModifiedTime": endpoint.modified,
                    "EndpointStatus": endpoint.status.value,
                }
                for endpoint in page
            ],
            **more,
        }

    def describe(self, call: Call) -> Members:
        """DescribeEndpoint. Members that are empty are left out: sagemaker-core takes no empty lists."""
        endpoint = self._shelves[call.region].endpoint(call.params["EndpointName"])
        serving, pending, config = endpoint.serving, endpoint.pending, endpoint.config.settings
        answer: Members = {
            "EndpointName": endpoint.name,
            "EndpointArn": endpoint.arn,
            "EndpointConfigName": endpoint.config.name,
            "EndpointStatus": endpoint.status.value,
            "CreationTime": endpoint.created,
            "LastModifiedTime": endpoint.modified,
            "ProductionVariants": [_variant(fleet) for fleet in serving.fleets.values()] if serving else None,
            "ShadowProductionVariants": [_variant(fleet) for fleet in serving.shadows.values()] if serving else None,
            "FailureReason": endpoint.failure,
            "LastDeploymentConfig": endpoint.guardrails,
            "DataCaptureConfig": _capture(config.get("DataCaptureConfig"), endpoint.status),
            "AsyncInferenceConfig": config.get("AsyncInferenceConfig"),
        }
        if pending is not None and endpoint.status is not Status.CREATING:
            variants = [_variant(fleet, endpoint.percent) for fleet in pending.fleets.values()]
            answer["PendingDeploymentSummary"] = {
                "EndpointConfigName": pending.config.name,
                "ProductionVariants": variants,
                "StartTime": endpoint.modified,
            }
        return {name: value for name, value in answer.items() if value not in (None, "", [], {})}


def _idle(endpoint: Endpoint) -> list[VariantFleet]:
    """The fleets of an endpoint that may be changed now.

    Raises:
        AwsError: It is being changed already, or never came into service.
    """
    if endpoint.status is not Status.IN_SERVICE or endpoint.serving is None:
        raise invalid(f'Cannot update in-progress endpoint "{endpoint.arn}".')
    return list(endpoint.serving.fleets.values())


def _retained(old: tuple[Variant, ...], new: tuple[Variant, ...], params: Members) -> dict[str, Variant]:
    """New variants with the count and weight of the old ones of the same name, when the update asks for that."""
    if not params.get("RetainAllVariantProperties"):
        return {}
    excluded = {item["VariantPropertyType"] for item in params.get("ExcludeRetainedVariantProperties") or ()}
    before = {variant.name: variant for variant in old}
    kept = {}
    for variant in new:
        if variant.name in before:
            count = variant.count if "DesiredInstanceCount" in excluded else before[variant.name].count
            weight = variant.weight if "DesiredWeight" in excluded else before[variant.name].weight
            kept[variant.name] = replace(variant, count=count, weight=weight)
    return kept


def _variant(fleet: VariantFleet, percent: float | None = None) -> Members:
    variant = fleet.variant
    described: Members = {
        "VariantName": variant.name,
        "DeployedImages": [{"SpecifiedImage": fleet.image, "ResolvedImage": fleet.image}],
        "CurrentWeight": variant.weight,
        "DesiredWeight": variant.weight,
        "CurrentInstanceCount": len(fleet.containers),
        "DesiredInstanceCount": variant.count,
    }
    if variant.serverless:
        described |= {
            "CurrentServerlessConfig": dict(variant.serverless),
            "CurrentInstanceCount": 0,
            "DesiredInstanceCount": 0,
        }
    if percent is not None:
        described["VariantStatus"] = [{"Status": "Baking" if percent else "Creating"}]
        if variant.settings.get("InstanceType"):
            described["InstanceType"] = variant.settings["InstanceType"]
    return described


def _capture(settings: Settings | None, status: Status) -> Members | None:
    if not settings:
        return None
    enabled = bool(settings.get("EnableCapture"))
    return {
        "EnableCapture": enabled,
        "CaptureStatus": "Started" if enabled and status is not Status.CREATING else "Stopped",
        "CurrentSamplingPercentage": settings["InitialSamplingPercentage"],
        "DestinationS3Uri": settings["DestinationS3Uri"],
        "KmsKeyId": settings.get("KmsKeyId", ""),
    }
