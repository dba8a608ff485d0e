"""Kinds of plans whose deployers are killed, or meet an AWS that answers badly: ready to be run again and again."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from serving import Bundle

from .deployers import Forker
from .killing import Plan
from .worlds import World

CANARY = {"shares": [0.5, 1.0], "least": 2, "patience": 1}
GUARDED = {"alarms": ["quiet"], "canary": {"size": 50, "wait": 1}, "autoscaling": {"most": 3, "invocations": 100}}
AROUND = {"reserved": 2, "provisioned": 1, "url": "iam", "url_callers": ["210987654321"], "log_retention": 7}
READY = {"provisioned": 1, "url": "iam"}
LATER = {"asynchronous": {"at_once": 2}}
SHADOW = {"shadow": {"least": 20, "patience": 60}}


def first(begin: Callable[[], World]) -> Plan:
    """The first release."""
    return Plan("deploy", begin, World.release, anew=True)


def following(begin: Callable[[], World]) -> Plan:
    """A release after another one."""

    def ready(world: World) -> None:
        if not world.folders:
            world.release()
            world.run()
        world.release()

    return Plan("deploy", begin, ready)


def tried(begin: Callable[[], World]) -> Plan:
    """A release after another one, tried as its shadow first.

    How often it reads what was captured, and what is asked meanwhile, hangs on who asks: it is killed beside these.
    """
    plan = following(begin)
    plan.crowded, plan.left_out = True, frozenset({"InvokeEndpoint", "GetObject"})
    return plan


def back(begin: Callable[[], World]) -> Plan:
    """Of two releases, the one that does not serve comes back."""

    def ready(world: World) -> None:
        for _ in range(2 - len(world.folders)):
            world.release()
            world.run()
        if world.served() == {world.wanted}:
            world.version = 3 - world.version

    return Plan("back", begin, ready)


def pruned(begin: Callable[[], World]) -> Plan:
    """Of three releases, the first one is not needed anymore."""

    def ready(world: World) -> None:
        while world.stored() < 3:
            world.release()
            world.run()

    return Plan("prune", begin, ready)


def withdrawn(begin: Callable[[], World]) -> Plan:
    """A release that serves is taken out of service."""

    def ready(world: World) -> None:
        if not world.folders:
            world.release()
        world.run()

    return Plan("withdraw", begin, ready, World.require_withdrawn)


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of plan on one target.

    Attributes:
        options: of the target, as in slipway.yaml.
        changes: operations that change something, which it must at least be seen to call.
        reads, since: as in `Plan`.
    """

    name: str
    target: str
    make: Callable[[Callable[[], World]], Plan]
    options: dict[str, Any]
    changes: frozenset[str]
    reads: bool = True
    since: str = ""

    def __str__(self) -> str:
        return f"{self.target}, {self.name}"

    def plan(self, forker: Forker, bundle: Bundle, prefix: str) -> Plan:
        """Such a plan; names in its worlds begin with ``prefix``, of at most 4 characters."""
        count = itertools.count()

        def begin() -> World:
            name = f"{prefix}-{self.target[:2]}-{self.name.replace(' ', '-')}-{next(count)}"
            return World(forker, bundle, self.target, name, self.options,
                         probed="canary" in self.options and self.target == "lambda")

        made = self.make(begin)
        made.reads, made.since = self.reads, self.since
        return made


_HOSTED = frozenset({"PutObject", "CreateModel", "CreateEndpointConfig"})
_MADE_READY = frozenset({"PutProvisionedConcurrencyConfig", "DeleteProvisionedConcurrencyConfig"})
KINDS = [
    Kind("first", "lambda", first, AROUND, frozenset({
        "PutObject", "PublishLayerVersion", "CreateFunction", "PublishVersion", "CreateAlias", "CreateLogGroup",
        "PutRetentionPolicy", "PutFunctionConcurrency", "PutProvisionedConcurrencyConfig", "AddPermission",
        "CreateFunctionUrlConfig"}), reads=False),
    Kind("at once", "lambda", following, {}, frozenset({"PutObject", "PublishVersion", "UpdateAlias"}), reads=False,
         since="PublishVersion"),
    Kind("canary", "lambda", following, {"canary": CANARY, **READY}, frozenset({
        "PutObject", "UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "UpdateAlias"})
        | _MADE_READY),
    Kind("rollback", "lambda", back, READY, frozenset({"PutObject", "UpdateAlias"}) | _MADE_READY),
    Kind("prune", "lambda", pruned, {}, frozenset({"PutObject", "DeleteFunction", "DeleteObjects"})),
    Kind("withdraw", "lambda", withdrawn, READY, frozenset({
        "DeleteAlias", "DeleteFunctionUrlConfig", "DeleteProvisionedConcurrencyConfig"})),
    Kind("first", "sagemaker", first, {"autoscaling": GUARDED["autoscaling"]},
         _HOSTED | {"CreateEndpoint", "RegisterScalableTarget", "PutScalingPolicy"}, reads=False),
    Kind("canary", "sagemaker", following, GUARDED, _HOSTED | {"UpdateEndpoint"}),
    Kind("1st later", "sagemaker", first, LATER, _HOSTED | {"CreateEndpoint"}, reads=False,
         since="CreateEndpointConfig"),
    Kind("later", "sagemaker", following, LATER, _HOSTED | {"UpdateEndpoint"}, since="UpdateEndpoint"),
    Kind("shadow", "sagemaker", tried, SHADOW, _HOSTED | {"UpdateEndpoint", "DeleteEndpointConfig"},
         since="CreateEndpointConfig"),
    Kind("rollback", "sagemaker", back, {}, frozenset({"PutObject", "UpdateEndpoint"})),
    Kind("prune", "sagemaker", pruned, {}, frozenset({
        "PutObject", "DeleteEndpointConfig", "DeleteModel", "DeleteObjects"})),
    Kind("withdraw", "sagemaker", withdrawn, {}, frozenset({"DeleteEndpoint"})),
]
