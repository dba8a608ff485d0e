"""The local SageMaker hosting: its control plane, and a process per instance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from serving.localaws.endpoints import kept
from serving.localaws.endpoints.control import EndpointControl
from serving.localaws.endpoints.deployment import Workshop
from serving.localaws.endpoints.images import Images, Recipe
from serving.localaws.endpoints.invoke import EndpointInvoker
from serving.localaws.endpoints.lifecycle import Lifecycle
from serving.localaws.endpoints.model_data import ModelData
from serving.localaws.endpoints.registry import RegistryControl, Shelves
from serving.localaws.endpoints.transform import TransformControl
from serving.localaws.premises import Premises
from serving.localaws.protocol import Dialect, Service, counted

_RUNTIME = Dialect("ValidationError", counted)


class EndpointService:
    """SageMaker hosting as one thing: the control plane's service and the runtime's."""

    def __init__(self, premises: Premises, *, recipes: Sequence[Recipe], speed: float) -> None:
        shelves = self._shelves = Shelves()
        shop = Workshop(Images(recipes), ModelData(premises.state / "models"), premises)
        self._lifecycle = Lifecycle(shop, speed=speed)
        control = EndpointControl(shelves, self._lifecycle)
        parts = (RegistryControl(shelves), control, TransformControl(shelves, shop))
        operations = {name: operation for part in parts for name, operation in part.operations().items()}
        self.service = Service("sagemaker", operations)
        self.runtime = Service("sagemaker-runtime", EndpointInvoker(shelves).operations(), dialect=_RUNTIME)

    def dump(self) -> dict[str, Any]:
        """Everything to be kept, by region."""
        return {shelf.region: kept.dump(shelf) for shelf in self._shelves}

    def load(self, data: Mapping[str, Any]) -> None:
        """Put back what `dump` gave; endpoints start again."""
        for region, shelf in data.items():
            kept.load(self._shelves[region], shelf, self._lifecycle)

    def count(self) -> int:
        """How many endpoints are there, in every region?"""
        return sum(len(shelf.endpoints) for shelf in self._shelves)
