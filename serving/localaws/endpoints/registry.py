"""SageMaker's control plane for models, endpoint configurations and tags."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.localaws import account
from serving.localaws.endpoints import model_data
from serving.localaws.endpoints.records import Record, Settings, Shelf, invalid
from serving.localaws.pages import SAGEMAKER
from serving.localaws.protocol import Call, Members, Operation

_PRINCIPAL = "sagemaker.amazonaws.com"
# Not supported on serverless endpoints (docs.aws.amazon.com/sagemaker/latest/dg/serverless-endpoints.html, 2026-11).
_NOT_SERVERLESS = ("DataCaptureConfig", "AsyncInferenceConfig", "ShadowProductionVariants")


class Shelves:
    """Every region's records."""

    def __init__(self) -> None:
        self._regions: dict[str, Shelf] = {}

    def __getitem__(self, region: str) -> Shelf:
        return self._regions.setdefault(region, Shelf(region))

    def __iter__(self) -> Any:
        return iter(list(self._regions.values()))


class RegistryControl:
    """Makes, describes, lists and deletes models and endpoint configurations."""

    def __init__(self, shelves: Shelves) -> None:
        self._shelves = shelves

    def operations(self) -> Mapping[str, Operation]:
        """SageMaker's names of what is done here."""
        return {
            "CreateModel": self.create_model,
            "DescribeModel": self.describe_model,
            "DeleteModel": self.delete_model,
            "ListModels": self.list_models,
            "CreateEndpointConfig": self.create_config,
            "DescribeEndpointConfig": self.describe_config,
            "DeleteEndpointConfig": self.delete_config,
            "ListEndpointConfigs": self.list_configs,
            "AddTags": self.add_tags,
            "ListTags": self.list_tags,
            "DeleteTags": self.delete_tags,
        }

    def create_model(self, call: Call) -> Members:
        """CreateModel: the role must be assumable and the model data must be there."""
        params, shelf = dict(call.params), self._shelves[call.region]
        name, tags = params["ModelName"], params.pop("Tags", None)
        arn = shelf.arn("model", name)
        if name in shelf.models:
            raise invalid(f'Cannot create already existing model "{arn}".')
        containers = [params["PrimaryContainer"]] if params.get("PrimaryContainer") else params.get("Containers") or []
        if not containers:
            raise invalid("PrimaryContainer or Containers is required.")
        role = params.get("ExecutionRoleArn", "")
        if not account.role_trusts(role, _PRINCIPAL):
            raise invalid(
                f"Could not assume role {role}. Please ensure that the role exists and allows principal "
                f"'{_PRINCIPAL}' to assume the role."
            )
        for container in containers:
            model_data.check(container)
        shelf.models[name] = Record(name, arn, params)
        self._tag(shelf, arn, tags)
        return {"ModelArn": arn}

    def describe_model(self, call: Call) -> Members:
        """DescribeModel."""
        model = self._shelves[call.region].model(call.params["ModelName"])
        isolated = bool(model.settings.get("EnableNetworkIsolation"))
        return {
            **model.settings,
            "ModelArn": model.arn,
            "CreationTime": model.created,
            "EnableNetworkIsolation": isolated,
            "DeploymentRecommendation": {"RecommendationStatus": "NOT_APPLICABLE"},
        }

    def delete_model(self, call: Call) -> Members:
        """DeleteModel."""
        shelf = self._shelves[call.region]
        del shelf.models[shelf.model(call.params["ModelName"]).name]
        return {}

    def list_models(self, call: Call) -> Members:
        """ListModels, in pages."""
        found, more = SAGEMAKER.cut(listed(self._shelves[call.region].models, call.params), call.params)
        return {"Models": [{"ModelName": r.name, "ModelArn": r.arn, "CreationTime": r.created} for r in found], **more}

    def create_config(self, call: Call) -> Members:
        """CreateEndpointConfig."""
        params, shelf = dict(call.params), self._shelves[call.region]
        name, tags = params["EndpointConfigName"], params.pop("Tags", None)
        arn = shelf.arn("endpoint-config", name)
        if name in shelf.configs:
            raise invalid(f'Cannot create already existing endpoint configuration "{arn}".')
        variants = [*params["ProductionVariants"], *(params.get("ShadowProductionVariants") or ())]
        names = [variant["VariantName"] for variant in variants]
        if len(set(names)) != len(names):
            raise invalid(f"Variant names must be unique, found {names}.")
        for variant in variants:
            shelf.model(variant.get("ModelName", ""))
            _check_variant(variant)
        _check_serverless(params)
        _check_shadow(params)
        shelf.configs[name] = Record(name, arn, params)
        self._tag(shelf, arn, tags)
        return {"EndpointConfigArn": arn}

    def describe_config(self, call: Call) -> Members:
        """DescribeEndpointConfig."""
        config = self._shelves[call.region].config(call.params["EndpointConfigName"])
        return {**config.settings, "EndpointConfigArn": config.arn, "CreationTime": config.created}

    def delete_config(self, call: Call) -> Members:
        """DeleteEndpointConfig."""
        shelf = self._shelves[call.region]
        del shelf.configs[shelf.config(call.params["EndpointConfigName"]).name]
        return {}

    def list_configs(self, call: Call) -> Members:
        """ListEndpointConfigs, in pages."""
        found, more = SAGEMAKER.cut(listed(self._shelves[call.region].configs, call.params), call.params)
        members = ("EndpointConfigName", "EndpointConfigArn", "CreationTime")
        configs = [dict(zip(members, (r.name, r.arn, r.created), strict=True)) for r in found]
        return {"EndpointConfigs": configs, **more}

    @staticmethod
    def _tag(shelf: Shelf, arn: str, tags: Any) -> None:
        for tag in tags or ():
            shelf.tags.setdefault(arn, {})[tag["Key"]] = tag["Value"]

    def add_tags(self, call: Call) -> Members:
        """AddTags."""
        shelf, arn = self._shelves[call.region], call.params["ResourceArn"]
        self._tag(shelf, arn, call.params["Tags"])
        return {"Tags": _tags(shelf, arn)}

    def list_tags(self, call: Call) -> Members:
        """ListTags."""
        return {"Tags": _tags(self._shelves[call.region], call.params["ResourceArn"])}

    def delete_tags(self, call: Call) -> Members:
        """DeleteTags."""
        tags = self._shelves[call.region].tags.get(call.params["ResourceArn"], {})
        for key in call.params["TagKeys"]:
            tags.pop(key, None)
        return {}


def listed(records: Mapping[str, Any], params: Members) -> list[Any]:
    """Records as a List call wants them: by NameContains, newest first unless it says Ascending."""
    part = params.get("NameContains", "")
    found = sorted((r for r in list(records.values()) if part in r.name), key=lambda record: record.created)
    return found if params.get("SortOrder") == "Ascending" else found[::-1]


def _tags(shelf: Shelf, arn: str) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in shelf.tags.get(arn, {}).items()]


def _check_variant(variant: Settings) -> None:
    if variant.get("ServerlessConfig") or variant.get("InstancePools"):
        return
    for member in ("InstanceType", "InitialInstanceCount"):
        if not variant.get(member):
            raise invalid(f"{member} is required for production variant {variant['VariantName']}.")


def _check_serverless(params: Settings) -> None:
    if not any(variant.get("ServerlessConfig") for variant in params["ProductionVariants"]):
        return
    if len(params["ProductionVariants"]) > 1:
        raise invalid("Only one ProductionVariant is allowed for a serverless endpoint.")
    used = [member for member in _NOT_SERVERLESS if params.get(member)]
    if used:
        raise invalid(f"{', '.join(used)} is not supported for serverless endpoints.")


def _check_shadow(params: Settings) -> None:
    """One shadow of one variant, and none beside asynchronous inference (shadow-tests-exclusions.html, 2026-11)."""
    shadows = params.get("ShadowProductionVariants") or ()
    if not shadows:
        return
    if len(shadows) > 1 or len(params["ProductionVariants"]) > 1:
        raise invalid("Only one ProductionVariant and one ShadowProductionVariant are allowed when there is a shadow.")
    if params.get("AsyncInferenceConfig"):
        raise invalid("ShadowProductionVariants is not supported for asynchronous endpoints.")
