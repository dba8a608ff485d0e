"""A deployer that is killed at any of its calls to AWS, and the next one that finishes what it began. Emulated.

Which calls a plan makes is recorded on the local AWS, not listed by hand. Deployers are real processes, killed with
kill -9 while the local AWS holds their call. One is killed before it is done, as if it had never been sent; where it
would have changed something, the next one, which comes to the same call, is killed when it is done and its answer under
way; and the one after that must finish. A call that only reads leaves AWS as it was, and a deployer leaves nothing
behind where it ran (the next one is given another folder, with nothing in it): after it is what is before the next
call. What two plans do alike is killed in one of them. SLIPWAY_KILL=all leaves none of this out: it kills at all calls
of all plans, after reading as well, and lets nobody be killed twice in a row.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from serving import Bundle, build
from serving.localaws import running

from . import recorded
from .conftest import release_of
from .deployers import Forker, forking
from .recorded import Call
from .test_deploy import environment
from .worlds import World, service

CANARY = {"shares": [0.5, 1.0], "least": 2, "patience": 1}
GUARDED = {"alarms": ["quiet"], "canary": {"size": 50, "wait": 1}, "autoscaling": {"most": 3, "invocations": 100}}
AROUND = {"reserved": 2, "provisioned": 1, "url": "iam", "url_callers": ["210987654321"], "log_retention": 7}
READY = {"provisioned": 1, "url": "iam"}
MADE_READY = {"PutProvisionedConcurrencyConfig", "DeleteProvisionedConcurrencyConfig"}
EVERY = os.environ.get("SLIPWAY_KILL") == "all"
# How many deployments before the next ones get a world of their own: they read the whole journal.
OLD = 24


@pytest.fixture(scope="module")
def bundle(network_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return build(release_of(network_files), network_files, tmp_path_factory.mktemp("killed") / "bundle")


@pytest.fixture(scope="module")
def forker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forker]:
    """A local AWS, and who starts deployers there; no retries."""
    with running("--speed", "100") as variables, environment(**variables, AWS_MAX_ATTEMPTS="1"):
        service("cloudwatch").put_metric_alarm(
            AlarmName="quiet", Namespace="Any", MetricName="Bad", Statistic="Sum", Period=60, EvaluationPeriods=1,
            Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="notBreaching")
        with forking(tmp_path_factory.mktemp("deployers")) as forker:
            yield forker


@dataclass(slots=True)
class Plan:
    """One kind of plan, ready to be run as often as it takes.

    Attributes:
        act: of the deployer.
        ready: makes the world ready for one try: everything is there but what the plan does.
        whole: looks whether all is as it should be afterwards.
        reads: whether to kill it while it plans, too: one deploy on each target plans as the others do.
        since: with which operation it begins to differ from another plan that is killed everywhere.
    """

    act: str
    begin: Callable[[], World]
    ready: Callable[[World], None]
    whole: Callable[[World], None] = World.require_whole
    anew: bool = False
    reads: bool = True
    since: str = ""
    world: World | None = None

    def fresh(self) -> World:
        """A world that is ready for one try."""
        recorded.forget()
        old = self.world
        if old is None or self.anew or len(old.place.logbook("images").read()) > OLD:
            if old is not None:
                old.end()
            self.world = self.begin()
        assert self.world is not None
        self.ready(self.world)
        recorded.forget()
        return self.world


def killed_while_planning(plan: Plan) -> None:
    """Kill it at each call before the first that changes anything."""
    world = plan.fresh()
    for number in itertools.count():
        recorded.forget()
        recorded.hold("hold", recorded.ANY, skip=number)
        deployer = world.forker.start(world.task(plan.act, waits=True))
        deployer.until_held_or_planned()
        call = recorded.held()
        deployer.kill()
        assert deployer.result() is None, deployer.result()
        recorded.let_go()
        if call is None or call.changes:
            return
        assert recorded.changing() == []


def points(plan: Plan) -> list[tuple[Call, int]]:
    """The calls of its steps, each with how many of its kind came before; of looks in a row only the first one."""
    world = plan.fresh()
    deployer = world.forker.start(world.task(plan.act, waits=True))
    deployer.until(deployer.planned)
    recorded.forget()
    deployer.go_on()
    assert isinstance(deployer.result(), int), deployer.result()
    made = [Call(call.service, call.operation, 0) for call in recorded.calls()]
    plan.whole(world)
    numbered = [(call, made[:number].count(call)) for number, call in enumerate(made)]
    changes = [number for number, call in enumerate(made) if call.changes]
    return [point for number, point in enumerate(numbered[changes[0]:], start=changes[0])
            if point[0].changes or point[0] != made[number - 1]]


def killed_at(plan: Plan, world: World, kind: str, call: Call, skip: int) -> None:
    """Kill one deployer at one call of its steps."""
    before = world.served()
    deployer = world.forker.start(world.task(plan.act, waits=True))
    deployer.until(lambda: deployer.planned() or deployer.ended())
    recorded.forget()
    recorded.hold(kind, call, skip=skip)
    deployer.go_on()
    deployer.until(lambda: recorded.held() is not None or deployer.ended())
    assert recorded.held() == call, f"{call} never came: {deployer.result()}"
    deployer.kill()
    recorded.let_go()
    assert deployer.result() is None
    assert world.served() <= {*before, world.wanted}, "never anything else in service"


def again(call: Call, skip: int) -> int:
    """How many calls of this kind does the next deployer make before it comes to one that was not done?

    It notes that it begins, and what is done it does not do again; only a canary's shares are gone through once more.
    """
    return skip if call.operation == "UpdateAlias" else min(skip, 1) if call.operation == "PutObject" else 0


def finished(plan: Plan, world: World, said: str) -> None:
    """Let the next deployer finish."""
    world.run(plan.act)
    plan.whole(world)
    if EVERY:
        assert world.run(plan.act) == 0, f"{said}: the next run finds nothing to do"


def killed_everywhere(plan: Plan) -> set[str]:
    """Kill the deployer of a plan at each of its calls, and run it again; which operations change something."""
    if plan.reads or EVERY:
        killed_while_planning(plan)
    found = points(plan)
    if plan.since and not EVERY:
        found = found[[call.operation for call, _ in found].index(plan.since):]
    for call, skip in found:
        world = plan.fresh()
        killed_at(plan, world, "hold", call, skip)
        if EVERY:
            finished(plan, world, f"before {call}")
            world = plan.fresh()
            killed_at(plan, world, "late", call, skip)
        elif call.changes:
            killed_at(plan, world, "late", call, again(call, skip))
        finished(plan, world, f"after {call}")
    assert world.run(plan.act) == 0, "the next run finds nothing to do"
    world.end()
    return {call.operation for call, _ in found if call.changes}


def first(begin: Callable[[], World]) -> Plan:
    return Plan("deploy", begin, World.release, anew=True)


def following(begin: Callable[[], World]) -> Plan:
    """A release after another one."""

    def ready(world: World) -> None:
        if not world.folders:
            world.release()
            world.run()
        world.release()

    return Plan("deploy", begin, ready)


def back(begin: Callable[[], World]) -> Plan:
    def ready(world: World) -> None:
        for _ in range(2 - len(world.folders)):
            world.release()
            world.run()
        if world.served() == {world.wanted}:
            world.version = 3 - world.version

    return Plan("back", begin, ready)


def pruned(begin: Callable[[], World]) -> Plan:
    def ready(world: World) -> None:
        while world.stored() < 3:
            world.release()
            world.run()

    return Plan("prune", begin, ready)


def withdrawn(begin: Callable[[], World]) -> Plan:
    def ready(world: World) -> None:
        if not world.folders:
            world.release()
        world.run()

    return Plan("withdraw", begin, ready, World.require_withdrawn)


PLANS: list[tuple[str, Callable[[Callable[[], World]], Plan], str, dict[str, Any], set[str]]] = [
    ("first", first, "lambda", AROUND,
     {"PutObject", "PublishLayerVersion", "CreateFunction", "PublishVersion", "CreateAlias", "CreateLogGroup",
      "PutRetentionPolicy", "PutFunctionConcurrency", "PutProvisionedConcurrencyConfig", "AddPermission",
      "CreateFunctionUrlConfig"}),
    ("at once", following, "lambda", {},
     {"PutObject", "PublishVersion", "UpdateAlias"}),
    ("canary", following, "lambda", {"canary": CANARY, **READY},
     {"PutObject", "UpdateFunctionCode", "UpdateFunctionConfiguration", "PublishVersion", "UpdateAlias", *MADE_READY}),
    ("rollback", back, "lambda", READY, {"PutObject", "UpdateAlias", *MADE_READY}),
    ("prune", pruned, "lambda", {}, {"PutObject", "DeleteFunction", "DeleteObjects"}),
    ("withdraw", withdrawn, "lambda", READY,
     {"DeleteAlias", "DeleteFunctionUrlConfig", "DeleteProvisionedConcurrencyConfig"}),
    ("first", first, "sagemaker", {"autoscaling": GUARDED["autoscaling"]},
     {"PutObject", "CreateModel", "CreateEndpointConfig", "CreateEndpoint", "RegisterScalableTarget",
      "PutScalingPolicy"}),
    ("canary", following, "sagemaker", GUARDED,
     {"PutObject", "CreateModel", "CreateEndpointConfig", "UpdateEndpoint"}),
    ("rollback", back, "sagemaker", {}, {"PutObject", "UpdateEndpoint"}),
    ("prune", pruned, "sagemaker", {}, {"PutObject", "DeleteEndpointConfig", "DeleteModel", "DeleteObjects"}),
    ("withdraw", withdrawn, "sagemaker", {}, {"DeleteEndpoint"}),
]


@pytest.mark.parametrize(("name", "kind", "target", "options", "operations"), PLANS,
                         ids=[f"{target}, {name}" for name, _, target, *_ in PLANS])
def test_a_deployer_killed_at_any_call_is_finished_by_the_next(
    forker: Forker, bundle: Bundle, name: str, kind: Callable[[Callable[[], World]], Plan], target: str,
    options: dict[str, Any], operations: set[str],
) -> None:
    count = itertools.count()

    def begin() -> World:
        prefix = f"{target}-{name}-{next(count)}".replace(" ", "-")
        return World(forker, bundle, target, prefix, options, probed="canary" in options and target == "lambda")

    plan = kind(begin)
    plan.reads, plan.since = name not in ("first", "at once"), "PublishVersion" if name == "at once" else ""
    assert operations <= killed_everywhere(plan), "they are recorded, and others may come"
