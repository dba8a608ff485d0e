"""All the running containers of one endpoint configuration: what blue and green are made of."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from serving.localaws.endpoints.container import Container, Place, free_port, instance_id, variables
from serving.localaws.endpoints.images import Images
from serving.localaws.endpoints.limits import STARTUP_SECONDS
from serving.localaws.endpoints.model_data import ModelData
from serving.localaws.endpoints.records import Record, Settings, Variant
from serving.localaws.errors import AwsError
from serving.localaws.premises import Premises

DEFAULT_AT_ONCE = 1_000  # the most that MaxConcurrentInvocationsPerInstance may say
_DRAIN_SECONDS = 60.0  # as long as one request may take


class StartFailed(Exception):
    """Why did a container not come into service? In SageMaker's words where they are known."""


@dataclass(frozen=True, slots=True)
class Workshop:
    """What containers are made with."""

    images: Images
    models: ModelData
    premises: Premises


@dataclass(frozen=True, slots=True)
class Blueprint:
    """One container as it is to be started: image, model, and where its log goes."""

    container: Settings
    isolated: bool
    region: str
    log_group: str

    def start(self, shop: Workshop, variant: str) -> Container:
        """Start it; healthy it is later.

        Raises:
            StartFailed: Nobody said how to play its image, or its model data cannot be had.
        """
        image = str(self.container.get("Image"))
        recipe = shop.images.recipe(image)
        if recipe is None:
            raise StartFailed(
                f"slipway local has no command for the image {image} (--image 'PATTERN=COMMAND' names one)"
            )
        try:
            model: Path = shop.models.fetch(self.container)
        except AwsError as error:
            raise StartFailed(error.message) from error
        port, premises = free_port(), shop.premises
        # Network isolation means no calls out, so no credentials either (docs: Run Containers in Internet-Free Mode).
        given = {**(self.container.get("Environment") or {}), **({} if self.isolated else premises.credentials)}
        model_dir = premises.sandbox.model_dir(model)
        command = recipe.argv(port, model_dir, shop.images.python(image, premises.interpreters))
        argv = premises.sandbox.container(command, model, premises.interpreter_folders)
        place = Place(premises.nursery, self.region, self.log_group, f"{variant}/{instance_id()}")
        return Container(argv, port, variables(port, model_dir, given, self.region), place)


class VariantFleet:
    """The instances of one variant."""

    def __init__(self, variant: Variant, blueprint: Blueprint, later: int = DEFAULT_AT_ONCE) -> None:
        self.variant = variant
        self.queue = threading.BoundedSemaphore(later)  # through which asynchronous requests go
        self.blueprint = blueprint
        self.containers: list[Container] = []
        self.slots = threading.BoundedSemaphore(_concurrency(variant))
        self._turn = itertools.count()

    @property
    def image(self) -> str:
        """The image its containers play."""
        return str(self.blueprint.container.get("Image"))

    def next(self) -> Container:
        """The instance whose turn it is."""
        containers = self.containers
        return containers[next(self._turn) % len(containers)]

    def reweigh(self, weight: float) -> None:
        """Change its share of the traffic."""
        self.variant = replace(self.variant, weight=weight)


class Deployment:
    """A configuration's fleets, started together and ended together.

    A deployment that has been closed starts nothing more: whoever is still bringing it up finds out and stops.
    """

    def __init__(self, config: Record, fleets: Sequence[VariantFleet], shadows: Sequence[VariantFleet], shop: Workshop):
        self.config = config
        self.fleets = {fleet.variant.name: fleet for fleet in fleets}
        self.shadows = {fleet.variant.name: fleet for fleet in shadows}
        self._shop = shop
        self._lock = threading.Lock()
        self._closed = False
        self._requests = 0
        self._quiet = threading.Condition()

    def enter(self) -> bool:
        """Register a request, so that the fleets stay until it is answered; False when it came too late."""
        with self._quiet:
            self._requests += not self._closed
            return not self._closed

    def leave(self) -> None:
        """A request that `enter` registered is answered."""
        with self._quiet:
            self._requests -= 1
            self._quiet.notify_all()

    def start(self) -> None:
        """Bring up every instance and wait until each is healthy.

        Raises:
            StartFailed: One of them was not; none is left running.
        """
        try:
            for fleet in (*self.fleets.values(), *self.shadows.values()):
                self.scale(fleet, fleet.variant.count)
        except StartFailed:
            self.close()
            raise

    def scale(self, fleet: VariantFleet, count: int) -> None:
        """Have so many instances of a variant: new ones healthy before they serve, or the last ones ended.

        Raises:
            StartFailed: A new one did not become healthy, or the deployment was closed meanwhile.
        """
        fresh = [self._launch(fleet) for _ in range(count - len(fleet.containers))]
        if fresh:
            seconds = float(
                fleet.variant.settings.get("ContainerStartupHealthCheckTimeoutInSeconds") or STARTUP_SECONDS
            )
            with ThreadPoolExecutor(len(fresh)) as pool:
                problems = pool.map(lambda one: one.wait_healthy(seconds, fleet.variant.name), fresh)
            reason = next(filter(None, problems), "")
            if reason or self._closed:
                self._discard(fleet, fresh)
                raise StartFailed(reason or "The endpoint was deleted.")
        with self._lock:
            fleet.variant = replace(fleet.variant, count=count)
            surplus, fleet.containers = fleet.containers[count:], fleet.containers[:count]
        for container in surplus:
            container.kill()

    def _launch(self, fleet: VariantFleet) -> Container:
        with self._lock:
            if self._closed:
                raise StartFailed("The endpoint was deleted.")
            container = fleet.blueprint.start(self._shop, fleet.variant.name)
            fleet.containers.append(container)
            return container

    def _discard(self, fleet: VariantFleet, containers: Sequence[Container]) -> None:
        with self._lock:
            fleet.containers = [one for one in fleet.containers if one not in containers]
        for container in containers:
            container.kill()

    def retire(self) -> None:
        """Take no more requests, let those under way be answered, then close."""
        with self._quiet:
            self._closed = True
            self._quiet.wait_for(lambda: self._requests == 0, _DRAIN_SECONDS)
        self.close()

    def close(self) -> None:
        """End every instance at once, also those that are being started."""
        with self._lock:
            self._closed = True
            fleets = (*self.fleets.values(), *self.shadows.values())
            containers = [container for fleet in fleets for container in fleet.containers]
        for container in containers:
            container.kill()


def choose(fleets: Sequence[VariantFleet], draw: float) -> VariantFleet | None:
    """The variant for one request by the weights; ``draw`` is uniform in [0, 1). None when all weights are zero."""
    total = sum(fleet.variant.weight for fleet in fleets)
    left = draw * total
    for fleet in fleets:
        if left < fleet.variant.weight:
            return fleet
        left -= fleet.variant.weight
    return None


def shadow_share(shadow: Variant, fleets: Sequence[VariantFleet]) -> float:
    """The share of requests that a shadow variant sees: its weight against that of all production variants."""
    total = sum(fleet.variant.weight for fleet in fleets)
    return min(1.0, shadow.weight / total) if total else 0.0


def _concurrency(variant: Variant) -> int:
    """How many requests at once: a serverless variant's own limit, else as many as come."""
    return int(variant.serverless["MaxConcurrency"]) if variant.serverless else 1_000
