"""At which calls to AWS can the deployer of a plan be killed, how is it killed there, and who finishes what it began?

Which calls a plan makes is recorded on the local AWS, not listed by hand. A call that changes something is known by how
many of its operation come before it. One that reads is known by the change it follows: how often a deployer looks while
AWS is at work, nobody can say, so that of looks with the same question between two changes only the first one counts.

A call that only reads leaves AWS as it was: after it is what is before the next call. And a deployer leaves nothing
behind where it ran. So one is killed before a call is done; where it would have changed something, the next one, which
comes to the same call, is killed when it is done; and the one after that must finish. What two plans do alike is killed
in one of them. SLIPWAY_KILL=all leaves none of this out: it kills before and after all calls of all plans, also those
that read, lets nobody be killed twice in a row, and has the next deployer find nothing to do each time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from . import recorded
from .deployers import Deployer
from .recorded import Call
from .worlds import World

# Leave nothing out.
EVERY = os.environ.get("SLIPWAY_KILL") == "all"
# How many deployments before the next ones get a world of their own: they read the whole journal.
OLD = 24


@dataclass(frozen=True, slots=True)
class Point:
    """One call of a plan.

    Attributes:
        skip: how many of its operation come before it; of one that reads, since ``after``.
        after: of one that reads, the last one before it that changes something; None when nothing does.
    """

    call: Call
    skip: int
    after: Point | None = None

    def __str__(self) -> str:
        return f"{self.call.operation} {self.skip}" + (f", after {self.after}" if self.after else "")


def points(made: Sequence[tuple[Call, str]]) -> Iterator[Point]:
    """Which calls of a run can be met again in another run? Each comes with what it asks."""
    last, changed = None, list[Call]()
    looked = list[tuple[Call, str]]()  # since the last change
    for call, question in made:
        if call.changes:
            last = Point(call, changed.count(call))
            changed.append(call)
            looked.clear()
            yield last
            continue
        alike = [before for other, before in looked if other == call]
        looked.append((call, question))
        if question not in alike and len(set(alike)) == len(alike):
            yield Point(call, len(alike), last)


@dataclass(slots=True)
class Plan:
    """One kind of plan, ready to be run as often as it takes.

    Attributes:
        act: of the deployer.
        ready: makes the world ready for one try: everything is there but what the plan does.
        whole: looks whether all is as it should be afterwards.
        anew: whether each try needs a world of its own.
        crowded: whether others ask the endpoint all the time while its steps are done.
        left_out: operations that are called as often as others ask.
        reads: whether to kill it while it plans, too, where not EVERY plan is: others plan as it does.
        since: with which operation it begins to differ from another plan that is killed everywhere.
    """

    act: str
    begin: Callable[[], World]
    ready: Callable[[World], None]
    whole: Callable[[World], None] = World.require_whole
    anew: bool = False
    crowded: bool = False
    left_out: frozenset[str] = frozenset()
    reads: bool = True
    since: str = ""
    world: World | None = None

    def fresh(self, *, quiet: bool = False) -> World:
        """A world that is ready for one try. ``quiet`` when nobody may ask anything yet."""
        recorded.forget()
        old = self.world
        if old is None or self.anew or len(old.place.logbook("images").read()) > OLD:
            if old is not None:
                old.end()
            self.world = self.begin()
        assert self.world is not None
        self.ready(self.world)
        self.world.let_ask(all_the_time=self.crowded and not quiet)
        recorded.forget()
        return self.world

    def points(self) -> list[Point]:
        """At which calls of its steps can its deployer be killed?"""
        world = self.fresh()
        deployer = world.forker.start(world.task(self.act, waits=True))
        deployer.until(lambda: deployer.planned() or deployer.ended())
        assert deployer.planned(), deployer.result()
        recorded.forget()
        deployer.go_on()
        assert isinstance(deployer.result(), int), deployer.result()
        made = [asked for asked in recorded.questions() if asked[0].operation not in self.left_out]
        self.whole(world)
        return list(points(made))


def killed_while_planning(plan: Plan, kind: str) -> int:
    """Kill one deployer at each call before its plan is made; how many there were. Nothing may be changed by then."""
    world, number = plan.fresh(quiet=True), 0
    while _killed_before_its_plan(plan, world, kind, number):
        number += 1
    return number


def _killed_before_its_plan(plan: Plan, world: World, kind: str, number: int) -> bool:
    recorded.forget()
    recorded.hold(kind, recorded.ANY, skip=number)
    deployer = world.forker.start(world.task(plan.act, waits=True))
    deployer.until_held_or_planned()
    call = recorded.held()
    deployer.kill()
    assert deployer.result() is None, deployer.result()
    recorded.let_go()
    assert recorded.changing() == []
    return call is not None


def killed_at(plan: Plan, world: World, kind: str, point: Point) -> None:
    """Kill one deployer at one call of its steps."""
    before = world.served()
    deployer = world.forker.start(world.task(plan.act, waits=True))
    deployer.until(lambda: deployer.planned() or deployer.ended())
    recorded.forget()
    if point.after:
        recorded.hold("late", point.after.call, skip=point.after.skip)
        deployer.go_on()
        _until_held(deployer, point.after)
        recorded.hold(kind, point.call, skip=point.skip, instead=True)
    else:
        recorded.hold(kind, point.call, skip=point.skip)
        deployer.go_on()
    _until_held(deployer, point)
    deployer.kill()
    recorded.let_go()
    assert deployer.result() is None
    assert world.served() <= {*before, world.wanted}, "never anything else in service"


def _until_held(deployer: Deployer, point: Point) -> None:
    deployer.until(lambda: recorded.held() == point.call or deployer.ended())
    assert recorded.held() == point.call, f"{point} never came: {deployer.result()}"


def killed_everywhere(plan: Plan) -> set[str]:
    """Kill the deployer of a plan at each of its calls, and run it again; which operations change something."""
    for kind in ("hold", "late") if EVERY else ("hold",) if plan.reads else ():
        assert (killed_while_planning(plan, kind) > 0) != (plan.act == "withdraw"), "it alone plans nothing"
    found = plan.points()
    operations = [point.call.operation for point in found]
    for point in found if EVERY or not plan.since else found[operations.index(plan.since):]:
        world = plan.fresh()
        killed_at(plan, world, "hold", point)
        if EVERY:
            _finished(plan, world, f"before {point}")
            world = plan.fresh()
            killed_at(plan, world, "late", point)
        elif point.call.changes:
            killed_at(plan, world, "late", _again(point))
        _finished(plan, world, f"after {point}")
    assert world.run(plan.act) == 0, "the next run finds nothing to do"
    world.end()
    return {point.call.operation for point in found if point.call.changes}


def _again(point: Point) -> Point:
    """Which call of the next deployer is the one that was not done?

    It notes that it begins, and what is done it does not do again; only a canary's shares are gone through once more.
    """
    operation, skip = point.call.operation, point.skip
    return Point(point.call, skip if operation == "UpdateAlias" else min(skip, 1) if operation == "PutObject" else 0)


def _finished(plan: Plan, world: World, said: str) -> None:
    world.run(plan.act)
    plan.whole(world)
    if EVERY:
        assert world.run(plan.act) == 0, f"{said}: the next run finds nothing to do"
