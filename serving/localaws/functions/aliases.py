"""Lambda's aliases: names that move between versions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.localaws.functions import describe
from serving.localaws.functions.catalog import Alias, Function, Name, check_revision, conflict, invalid, not_found
from serving.localaws.functions.control import FunctionControl
from serving.localaws.functions.revision import LATEST
from serving.localaws.functions.traffic import check_weights
from serving.localaws.pages import LAMBDA
from serving.localaws.protocol import Call, Members, Operation


class AliasControl:
    """Makes, moves and deletes aliases."""

    def __init__(self, functions: FunctionControl) -> None:
        self._functions = functions

    def operations(self) -> Mapping[str, Operation]:
        """Lambda's names of what is done here."""
        return {
            "CreateAlias": self.create,
            "GetAlias": self.get,
            "UpdateAlias": self.update,
            "DeleteAlias": self.delete,
            "ListAliases": self.list_all,
        }

    def create(self, call: Call) -> Members:
        """CreateAlias."""
        params, catalog = call.params, self._functions.catalog(call.region)
        with catalog.lock:
            function = catalog.function(Name.parse(params["FunctionName"]))
            name, arn = params["Name"], f"{function.latest.arn}:{params['Name']}"
            if name.isdigit():
                raise invalid(f"Alias name {name} may not be a number.")
            if name in function.aliases:
                raise conflict(f"Alias already exists: {arn}")
            version = params["FunctionVersion"]
            _check_version(function, version)
            weights = _weights(function, version, params.get("RoutingConfig"))
            made = function.aliases[name] = Alias(name, arn, version, params.get("Description", ""), weights)
        return describe.alias(made)

    def get(self, call: Call) -> Members:
        """GetAlias."""
        _, alias = self._find(call)
        return describe.alias(alias)

    def _find(self, call: Call) -> tuple[Function, Alias]:
        function = self._functions.catalog(call.region).function(Name.parse(call.params["FunctionName"]))
        name = call.params["Name"]
        if name not in function.aliases:
            raise not_found(f"Cannot find alias arn: {function.latest.arn}:{name}")
        return function, function.aliases[name]

    def update(self, call: Call) -> Members:
        """UpdateAlias: what is not given stays, an empty RoutingConfig takes the second version away."""
        params = call.params
        with self._functions.catalog(call.region).lock:
            function, alias = self._find(call)
            check_revision(params.get("RevisionId"), alias.revision_id, "GetFunction/GetAlias")
            version = params.get("FunctionVersion", alias.version)
            _check_version(function, version)
            routing = params.get("RoutingConfig")
            if routing is None:
                routing = {"AdditionalVersionWeights": dict(alias.weights)}
            weights = _weights(function, version, routing)
            changes = {
                "version": version,
                "weights": weights,
                "description": params.get("Description", alias.description),
            }
            function.aliases[alias.name] = alias = alias.changed(**changes)
        return describe.alias(alias)

    def delete(self, call: Call) -> Members:
        """DeleteAlias; nothing happens when there is none."""
        catalog = self._functions.catalog(call.region)
        with catalog.lock:
            catalog.function(Name.parse(call.params["FunctionName"])).aliases.pop(call.params["Name"], None)
        return {}

    def list_all(self, call: Call) -> Members:
        """ListAliases, in pages."""
        function = self._functions.catalog(call.region).function(Name.parse(call.params["FunctionName"]))
        version = call.params.get("FunctionVersion")
        shown = [alias for alias in function.aliases.values() if version in (None, alias.version)]
        page, more = LAMBDA.cut(shown, call.params)
        return {"Aliases": [describe.alias(alias) for alias in page], **more}


def _check_version(function: Function, version: str) -> None:
    if version != LATEST and version not in function.versions:
        raise not_found(f"Function not found: {function.latest.arn}:{version}")


def _weights(function: Function, version: str, routing: Mapping[str, Any] | None) -> tuple[tuple[str, float], ...]:
    weights = (routing or {}).get("AdditionalVersionWeights") or {}
    return check_weights(version, weights, frozenset(function.versions))
