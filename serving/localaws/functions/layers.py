"""Lambda's layers: published versions, listed by the runtime they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

from serving.localaws.functions import describe
from serving.localaws.functions.catalog import Catalog, invalid, not_found
from serving.localaws.functions.control import FunctionControl
from serving.localaws.functions.packages import PackageStore
from serving.localaws.functions.revision import LayerVersion
from serving.localaws.pages import LAMBDA
from serving.localaws.protocol import Call, Members, Operation


class LayerControl:
    """Publishes, lists and deletes layer versions."""

    def __init__(self, functions: FunctionControl, packages: PackageStore, *, endpoint: str) -> None:
        self._functions = functions
        self._packages = packages
        self._endpoint = endpoint

    def operations(self) -> Mapping[str, Operation]:
        """Lambda's names of what is done here."""
        return {
            "PublishLayerVersion": self.publish,
            "GetLayerVersion": self.get,
            "GetLayerVersionByArn": self.get_by_arn,
            "ListLayerVersions": self.list_versions,
            "ListLayers": self.list_layers,
            "DeleteLayerVersion": self.delete,
        }

    def publish(self, call: Call) -> Members:
        """PublishLayerVersion."""
        params, catalog = call.params, self._functions.catalog(call.region)
        runtimes = tuple(params.get("CompatibleRuntimes") or ())
        for runtime in runtimes:
            self._functions.check_runtime(runtime, "compatibleRuntimes")
        content = params["Content"]
        zipped = content["ZipFile"] if content.get("ZipFile") is not None else FunctionControl.from_s3(content)
        package, name = self._packages.add(zipped), _name(params["LayerName"])
        with catalog.lock:
            version = catalog.layers_published[name] = catalog.layers_published.get(name, 0) + 1
            layer = catalog.layers.setdefault(name, {})[version] = LayerVersion(
                name=name,
                version=version,
                arn=f"{catalog.layer_arn(name)}:{version}",
                package=package,
                created=datetime.now(UTC),
                description=params.get("Description", ""),
                runtimes=runtimes,
                architectures=tuple(params.get("CompatibleArchitectures") or ()),
                license=params.get("LicenseInfo", ""),
            )
        return describe.layer_version(layer, self._endpoint)

    def get(self, call: Call) -> Members:
        """GetLayerVersion."""
        catalog, name = self._functions.catalog(call.region), _name(call.params["LayerName"])
        layer = catalog.layers.get(name, {}).get(int(call.params["VersionNumber"]))
        if layer is None:
            raise not_found("The resource you requested does not exist.")
        return describe.layer_version(layer, self._endpoint)

    def get_by_arn(self, call: Call) -> Members:
        """GetLayerVersionByArn."""
        layer = self._functions.catalog(call.region).layer_version(call.params["Arn"])
        return describe.layer_version(layer, self._endpoint)

    def list_versions(self, call: Call) -> Members:
        """ListLayerVersions, newest first, in pages; none at all for a layer that does not exist."""
        catalog, name = self._functions.catalog(call.region), _name(call.params["LayerName"])
        self._functions.check_runtime(call.params.get("CompatibleRuntime"), "compatibleRuntime")
        page, more = LAMBDA.cut(list(self._matching(catalog, name, call.params)), call.params)
        return {"LayerVersions": [describe.layer_summary(layer) for layer in page], **more}

    def list_layers(self, call: Call) -> Members:
        """ListLayers, in pages, each with its newest matching version."""
        catalog = self._functions.catalog(call.region)
        self._functions.check_runtime(call.params.get("CompatibleRuntime"), "compatibleRuntime")
        newest = {name: next(self._matching(catalog, name, call.params), None) for name in sorted(catalog.layers)}
        page, more = LAMBDA.cut([(name, layer) for name, layer in newest.items() if layer is not None], call.params)
        return {
            "Layers": [
                {
                    "LayerName": name,
                    "LayerArn": catalog.layer_arn(name),
                    "LatestMatchingVersion": describe.layer_summary(layer),
                }
                for name, layer in page
            ],
            **more,
        }

    @staticmethod
    def _matching(catalog: Catalog, name: str, params: Members) -> Iterator[LayerVersion]:
        runtime, architecture = params.get("CompatibleRuntime"), params.get("CompatibleArchitecture")
        versions = catalog.layers.get(name, {})
        return (
            versions[number]
            for number in sorted(versions, reverse=True)
            if (runtime is None or runtime in versions[number].runtimes)
            and (architecture is None or architecture in versions[number].architectures)
        )

    def delete(self, call: Call) -> Members:
        """DeleteLayerVersion; functions that use it keep it."""
        catalog, name = self._functions.catalog(call.region), _name(call.params["LayerName"])
        with catalog.lock:
            catalog.layers.get(name, {}).pop(int(call.params["VersionNumber"]), None)
            if not catalog.layers.get(name, True):
                del catalog.layers[name]
        return {}


def _name(text: str) -> str:
    """A layer's name out of its name or ARN."""
    parts = text.split(":")
    if len(parts) not in (1, 7):
        raise invalid(f"{text} is no layer name")
    return parts[-1]
