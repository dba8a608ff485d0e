"""Lambda's state as JSON, and back."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from serving.localaws.functions.catalog import Alias, Catalog, Function
from serving.localaws.functions.packages import PackageStore
from serving.localaws.functions.revision import LayerVersion, Revision

Json = dict[str, Any]


def dump(catalog: Catalog) -> Json:
    """One region's functions and layers."""
    with catalog.lock:
        return {
            "functions": [_function(function) for function in catalog.functions.values()],
            "layers": [_layer(layer) for versions in catalog.layers.values() for layer in versions.values()],
            "published": dict(catalog.layers_published),
        }


def load(catalog: Catalog, data: Json, packages: PackageStore) -> None:
    """Put them back; their packages lie unpacked in the state folder."""
    for item in data["layers"]:
        layer = _to_layer(item, packages)
        catalog.layers.setdefault(layer.name, {})[layer.version] = layer
    catalog.layers_published.update(data["published"])
    for item in data["functions"]:
        function = _to_function(item, packages)
        catalog.functions[function.latest.name] = function


def _function(function: Function) -> Json:
    return {
        "latest": _revision(function.latest),
        "versions": [_revision(revision) for revision in function.versions.values()],
        "aliases": [_alias(alias) for alias in function.aliases.values()],
        "tags": function.tags,
        "reserved": function.reserved,
        "published": function.published,
        "provisioned": function.provisioned,
        "extras": [[*key, _plain(value)] for key, value in function.extras.items()],
    }


def _to_function(data: Json, packages: PackageStore) -> Function:
    versions = [_to_revision(item, packages) for item in data["versions"]]
    aliases = [_to_alias(item) for item in data["aliases"]]
    return Function(
        latest=_to_revision(data["latest"], packages),
        versions={revision.version: revision for revision in versions},
        aliases={alias.name: alias for alias in aliases},
        tags=data["tags"],
        reserved=data["reserved"],
        published=data["published"],
        provisioned=data["provisioned"],
        extras={(kind, qualifier): value for kind, qualifier, value in data["extras"]},
    )


def _revision(revision: Revision) -> Json:
    return {
        "name": revision.name,
        "arn": revision.arn,
        "version": revision.version,
        "package": revision.package.sha256,
        "layers": [_layer(layer) for layer in revision.layers],
        "settings": dict(revision.settings),
        "modified": revision.modified.isoformat(),
        "revision_id": revision.revision_id,
    }


def _to_revision(data: Json, packages: PackageStore) -> Revision:
    made = {
        "package": packages.known(data["package"]),
        "layers": tuple(_to_layer(item, packages) for item in data["layers"]),
        "modified": datetime.fromisoformat(data["modified"]),
    }
    return Revision(**{**data, **made})


def _alias(alias: Alias) -> Json:
    return {name: getattr(alias, name) for name in ("name", "arn", "version", "description", "weights", "revision_id")}


def _to_alias(data: Json) -> Alias:
    return Alias(**{**data, "weights": tuple((version, share) for version, share in data["weights"])})


def _layer(layer: LayerVersion) -> Json:
    kept = ("name", "version", "arn", "description", "runtimes", "architectures", "license")
    plain = {name: getattr(layer, name) for name in kept}
    return {**plain, "package": layer.package.sha256, "created": layer.created.isoformat()}


def _to_layer(data: Json, packages: PackageStore) -> LayerVersion:
    made = {
        "package": packages.known(data["package"]),
        "created": datetime.fromisoformat(data["created"]),
        "runtimes": tuple(data["runtimes"]),
        "architectures": tuple(data["architectures"]),
    }
    return LayerVersion(**{**data, **made})


def _plain(value: Any) -> Any:
    """A value without dates: those become text, which answers take as well."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value.isoformat() if isinstance(value, datetime) else value
