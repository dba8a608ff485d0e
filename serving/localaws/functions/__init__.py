"""The local Lambda: its control plane, and the host that runs functions in processes of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from serving.localaws.functions import kept
from serving.localaws.functions.aliases import AliasControl
from serving.localaws.functions.attributes import AttributeControl
from serving.localaws.functions.control import FunctionControl
from serving.localaws.functions.host import FunctionHost
from serving.localaws.functions.invoke import Invoker
from serving.localaws.functions.layers import LayerControl
from serving.localaws.functions.packages import PackageStore
from serving.localaws.functions.urls import FunctionUrls
from serving.localaws.premises import Premises
from serving.localaws.protocol import Service


class FunctionService:
    """Lambda as one thing: a service for the front door, function URLs, and an end to it all."""

    def __init__(self, premises: Premises, *, settle_seconds: float = 0.0) -> None:
        endpoint = premises.endpoint
        self.packages = PackageStore(premises.state / "packages")
        self._host = FunctionHost(premises, self.packages)
        control = self._control = FunctionControl(
            self._host, self.packages, endpoint=endpoint, settle_seconds=settle_seconds
        )
        attributes = AttributeControl(control, self._host, port=premises.port)
        invoker = Invoker(control, self._host)
        parts = (
            control,
            LayerControl(control, self.packages, endpoint=endpoint),
            AliasControl(control),
            attributes,
            invoker,
        )
        operations = {name: operation for part in parts for name, operation in part.operations().items()}
        # Runtimes are checked against the interpreters found here, with Lambda's own wording.
        unchecked = frozenset({"runtime", "compatibleRuntime", "compatibleRuntimes"})
        self.service = Service("lambda", operations, unchecked=unchecked)
        self.urls = FunctionUrls(attributes, invoker)

    def dump(self) -> dict[str, Any]:
        """Everything to be kept, by region."""
        return {catalog.region: kept.dump(catalog) for catalog in self._control.catalogs()}

    def load(self, data: Mapping[str, Any]) -> None:
        """Put back what `dump` gave."""
        for region, catalog in data.items():
            kept.load(self._control.catalog(region), catalog, self.packages)

    def count(self) -> int:
        """How many functions are there, in every region?"""
        return sum(len(catalog.functions) for catalog in self._control.catalogs())

    def close(self) -> None:
        """End every function's processes."""
        self._host.close()
