"""Deployers that meet an AWS which throttles, fails, loses its answers and takes too long, here and there. Emulated.

What goes wrong where is drawn, by a seed, from the calls that the plan was seen to make. Whatever comes of it is run
again until there is nothing to do. SLIPWAY_KILL=all draws more often.
"""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest

from serving import Bundle

from . import recorded
from .deployers import Forker
from .killing import EVERY
from .plans import KINDS, Kind
from .recorded import Call
from .test_deploy import environment
from .test_deploy_killed import bundle, forker  # noqa: F401 - fixtures

FAULTS = ("throttle", "error", "lost", "late", "delay")
# Answers that come after three seconds come too late.
IMPATIENT = {"AWS_MAX_ATTEMPTS": "2", "SLIPWAY_READ_TIMEOUT": "2"}
LATE = 3
# What may come of it; none of them leaves anything else in service.
ENDS = ("AwsFailed", "AwsConflict", "GoldenFailed")


@pytest.mark.parametrize("seed", range(3 if EVERY else 1))
@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_throttles_errors_lost_answers_and_time_outs_end_in_the_same_state(
    forker: Forker, bundle: Bundle, kind: Kind, seed: int  # noqa: F811
) -> None:
    chance = random.Random(zlib.crc32(f"{kind} {seed}".encode()))  # noqa: S311 - no secret hangs on it
    plan = kind.plan(forker, bundle, f"f{seed}")
    world = plan.fresh()
    world.run(plan.act)
    made = sorted({(call.service, call.operation) for call in recorded.calls() if call.operation not in plan.left_out})
    world = plan.fresh()
    for number, fault in enumerate((*chance.choices(FAULTS), *FAULTS)):
        call = Call(*chance.choice(made), 0)
        recorded.expect(fault, call, skip=chance.randrange(2) if number % 2 else 0, seconds=LATE)
    task = replace(world.task(plan.act), variables=IMPATIENT)
    ends = [forker.start(task).result()]
    while ends[-1] != 0 or len(ends) == 1:
        assert isinstance(ends[-1], int) or ends[-1][0] in ENDS, ends
        assert len(ends) < 20, ends
        ends.append(forker.start(task).result())
    recorded.forget()
    plan.whole(world)
    with environment(AWS_MAX_ATTEMPTS="1"):
        assert world.run(plan.act) == 0
    world.end()
