"""What happens to an endpoint over time: created, updated behind guardrails, rolled back, scaled, deleted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence

from serving.localaws import alarms
from serving.localaws.endpoints.deployment import (
    DEFAULT_AT_ONCE,
    Blueprint,
    Deployment,
    StartFailed,
    VariantFleet,
    Workshop,
)
from serving.localaws.endpoints.records import Endpoint, Record, Settings, Shelf, Status, Variant, now
from serving.localaws.endpoints.rollout import ALL_AT_ONCE, Rollout

_WATCH_SECONDS = 0.05


class RolledBack(Exception):
    """Why does the old fleet serve again?"""


class Lifecycle:
    """Runs the changes of endpoints, each in a thread of its own.

    Args:
        speed: SageMaker's waiting times are divided by this.
    """

    def __init__(self, shop: Workshop, *, speed: float) -> None:
        self._shop = shop
        self._speed = speed

    def deployment(self, shelf: Shelf, endpoint: str, config: Record, kept: Mapping[str, Variant]) -> Deployment:
        """A deployment of a configuration, not started; ``kept`` variants have a count and weight of their own."""

        pace: Settings = (config.settings.get("AsyncInferenceConfig") or {}).get("ClientConfig") or {}
        at_once = int(pace.get("MaxConcurrentInvocationsPerInstance") or DEFAULT_AT_ONCE)

        def fleet(settings: Settings) -> VariantFleet:
            variant = kept.get(settings["VariantName"], Variant.of(settings))
            model = shelf.model(variant.model)
            container = model.settings.get("PrimaryContainer") or model.settings["Containers"][0]
            group = f"/aws/sagemaker/Endpoints/{endpoint}"
            isolated = bool(model.settings.get("EnableNetworkIsolation"))
            return VariantFleet(variant, Blueprint(container, isolated, shelf.region, group), variant.count * at_once)

        production = [fleet(settings) for settings in config.settings["ProductionVariants"]]
        shadows = [fleet(settings) for settings in config.settings.get("ShadowProductionVariants") or ()]
        return Deployment(config, production, shadows, self._shop)

    def create(self, endpoint: Endpoint, deployment: Deployment) -> None:
        """Bring a new endpoint into service, or to Failed."""
        endpoint.pending = deployment

        def run() -> None:
            try:
                deployment.start()
            except StartFailed as error:
                self._settle(endpoint, Status.FAILED, str(error))
                return
            endpoint.serving = deployment
            self._settle(endpoint, Status.IN_SERVICE)

        self._begin(endpoint, Status.CREATING, run)

    def update(self, endpoint: Endpoint, deployment: Deployment, rollout: Rollout = ALL_AT_ONCE) -> None:
        """Move an endpoint to a new deployment; on any failure the old one keeps, or gets back, all the traffic."""
        endpoint.pending = deployment

        def run() -> None:
            old = endpoint.serving
            try:
                deployment.start()
                self._shift(endpoint, rollout)
            except (StartFailed, RolledBack) as error:
                endpoint.percent = 0.0
                endpoint.status = Status.ROLLING_BACK
                deployment.retire()
                self._settle(endpoint, Status.IN_SERVICE, str(error))
                return
            endpoint.serving, endpoint.config = deployment, deployment.config
            self._settle(endpoint, Status.IN_SERVICE)
            if old is not None:
                old.retire()

        self._begin(endpoint, Status.UPDATING, run)

    def rescale(self, endpoint: Endpoint, wanted: Sequence[Variant]) -> None:
        """Give an endpoint's variants new weights and counts."""
        serving = endpoint.serving
        assert serving is not None  # noqa: S101 - only an endpoint in service is rescaled

        def run() -> None:
            failure = ""
            for variant in wanted:
                fleet = serving.fleets[variant.name]
                fleet.reweigh(variant.weight)
                try:
                    serving.scale(fleet, variant.count)
                except StartFailed as error:
                    failure = str(error)
            self._settle(endpoint, Status.IN_SERVICE, failure)

        self._begin(endpoint, Status.UPDATING, run)

    def delete(self, endpoint: Endpoint) -> None:
        """End an endpoint at whatever point it is."""
        endpoint.deleted = True
        endpoint.status = Status.DELETING
        for deployment in (endpoint.pending, endpoint.serving):
            if deployment is not None:
                deployment.close()

    def _begin(self, endpoint: Endpoint, status: Status, run: Callable[[], None]) -> None:
        endpoint.status, endpoint.failure, endpoint.modified = status, "", now()
        threading.Thread(target=run, daemon=True).start()

    @staticmethod
    def _settle(endpoint: Endpoint, status: Status, failure: str = "") -> None:
        endpoint.pending, endpoint.percent = None, 0.0
        endpoint.failure, endpoint.modified = failure, now()
        endpoint.status = status
        if endpoint.deleted and endpoint.serving is not None:
            endpoint.serving.close()

    def _shift(self, endpoint: Endpoint, rollout: Rollout) -> None:
        limit = time.monotonic() + rollout.limit_seconds / self._speed
        region = endpoint.arn.split(":")[3]
        for step in rollout.steps:
            self._look(endpoint, region, rollout, limit)
            endpoint.percent = step.percent
            self._bake(endpoint, region, rollout, limit, step.bake_seconds)
        self._bake(endpoint, region, rollout, limit, rollout.termination_seconds)

    def _bake(self, endpoint: Endpoint, region: str, rollout: Rollout, limit: float, seconds: float) -> None:
        end = time.monotonic() + seconds / self._speed
        while True:
            self._look(endpoint, region, rollout, limit)
            left = end - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, _WATCH_SECONDS))

    @staticmethod
    def _look(endpoint: Endpoint, region: str, rollout: Rollout, limit: float) -> None:
        if endpoint.deleted:
            raise RolledBack("The endpoint was deleted.")
        if time.monotonic() > limit:
            raise RolledBack("The deployment exceeded its maximum execution timeout; traffic was rolled back.")
        firing = alarms.firing(region, rollout.alarms)
        if firing:
            raise RolledBack(f"Traffic was rolled back because these alarms are in ALARM: {', '.join(firing)}.")
