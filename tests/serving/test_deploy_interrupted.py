"""Deployers that wait for hours, begin at once, are stopped by Ctrl-C, or meet an AWS that answers badly. Emulated.

All are processes of their own, but for those that wait for hours: their clock is moved.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from serving import Aws, Bundle, journal
from serving.config import CanarySettings
from serving.errors import CanaryFailed, Refused
from serving.execution import Hands, execute
from serving.golden import read_golden
from serving.journal import Kind
from serving.runtime import manifest as manifests
from serving.status import status_of
from serving.targets.lambda_.canary import Canary
from serving.targets.lambda_.execution import LambdaHands
from serving.targets.sagemaker.execution import SageMakerHands

from . import recorded
from .deployers import Forker
from .plans import CANARY
from .recorded import Call
from .test_deploy import ROOT
from .test_deploy_killed import bundle, forker  # noqa: F401 - fixtures
from .worlds import World

BOTH = pytest.mark.parametrize("target", ["lambda", "sagemaker"])
LONG = {"alarms": ["quiet"], "canary": {"size": 50, "wait": 400}}  # the local AWS's clock is 100 times as fast


@pytest.fixture
def begin(forker: Forker, bundle: Bundle) -> Callable[..., World]:  # noqa: F811
    def begin(target: str, prefix: str, options: dict[str, Any] | None = None) -> World:
        """A world with one release in service and the next one wanted."""
        recorded.forget()
        world = World(forker, bundle, target, prefix, {}, probed=False)
        world.release()
        world.run()
        world.release()
        world.options, world.probed = options or {}, target == "lambda" and bool(options)
        return world

    return begin


def last(world: World) -> journal.Entry[Any]:
    found: journal.Entry[Any] = world.place.logbook("images").read()[-1]
    return found


@BOTH
def test_a_deployer_that_waits_for_hours_holds_its_journal_all_the_time(
    begin: Callable[..., World], target: str, tmp_path: Path
) -> None:
    world = begin(target, f"hours-{target}", {"canary": CANARY} if target == "lambda" else LONG)
    clock = datetime.now(UTC)
    waited, told = timedelta(0), []

    def sleep(seconds: float) -> None:
        """Ten minutes, which SageMaker needs half a second for; somebody else looks meanwhile."""
        nonlocal clock, waited
        time.sleep(0.5 if target == "sagemaker" else 0)
        clock, waited = clock + timedelta(minutes=10), waited + timedelta(minutes=10)
        with pytest.raises(Refused, match="is deploying images/2 since") as caught:
            journal.require_free(world.place.logbook("images").read(), clock, lambda entry: True)
        told.append(str(caught.value).split(" since ")[1].split(" UTC")[0])

    folder, aws = world.folders[2], Aws()
    patient = CanarySettings.model_validate({**CANARY, "least": 100, "patience": 4 * 3600})
    golden = read_golden(folder / "golden.npz")
    hands: Hands = (LambdaHands(aws, golden, Canary(patient, (), sleep, lambda: clock)) if target == "lambda"
                    else SageMakerHands(aws, golden, sleep))
    plan = world.place.plan(Bundle(folder, manifests.read(folder)), tmp_path, lambda line: None)
    try:
        execute(plan, aws, hands, lambda step, seconds: None, now=lambda: clock)
    except CanaryFailed as error:
        assert "only 0 of 100 requests came" in str(error)
    assert waited > 3 * journal.LEASE
    assert set(told) == {told[0]}, "since when is always the beginning"
    entries = world.place.logbook("images").read()
    assert [entry.kind for entry in entries].count(Kind.RENEWED) >= len(told) - 1
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    journal.require_free(entries, clock, lambda entry: True)
    world.end()


def test_a_deployer_that_is_silent_for_longer_than_its_lease_is_taken_over_and_stops(
    begin: Callable[..., World], forker: Forker  # noqa: F811
) -> None:
    world = begin("lambda", "silent")
    task = replace(world.task(), lease=3)
    recorded.hold("hold", Call("lambda", "PublishVersion", 0), skip=0)
    first = forker.start(task)
    first.until(lambda: recorded.held() is not None)
    kind, said = forker.start(world.task()).result()
    assert kind == "Refused"
    assert f"{last(world).who} on {last(world).host} is deploying images/2 since" in said
    first.send(signal.SIGSTOP)  # it is not dead: only its silence tells
    time.sleep(3)
    assert isinstance(forker.start(task).result(), int), "taken over"
    first.send(signal.SIGCONT)
    recorded.forget()
    kind, said = first.result()
    assert kind in ("TakenOver", "AwsConflict"), said
    assert kind != "TakenOver" or f"{last(world).who} on {last(world).host}" in said
    world.require_whole()
    world.end()


def test_a_deployer_that_waits_renews_its_lease_and_the_second_is_refused_until_it_is_done(
    begin: Callable[..., World], forker: Forker  # noqa: F811
) -> None:
    world = begin("sagemaker", "renews", LONG)
    task = replace(world.task(), lease=3)
    first = forker.start(task)
    first.until(lambda: last(world).kind is Kind.RENEWED or first.ended())
    assert not first.ended(), first.result()
    kind, said = forker.start(replace(task, lease=60)).result()  # no machine is as slow
    assert (kind, "is deploying images/2 since" in said) == ("Refused", True)
    assert isinstance(first.result(), int)
    world.require_whole()
    world.end()


@BOTH
def test_of_two_that_begin_at_once_one_goes_on_and_the_other_is_told_who(
    begin: Callable[..., World], forker: Forker, target: str  # noqa: F811
) -> None:
    world = begin(target, f"at-once-{target}")
    both = [forker.start(world.task(waits=True)) for _ in range(2)]
    for one in both:
        one.until(one.planned)
    for one in both:
        one.go_on()
    results = [one.result() for one in both]
    (kind, said) = next(result for result in results if not isinstance(result, int))
    assert sum(isinstance(result, int) for result in results) == 1
    assert kind == "AwsConflict"
    assert f"{last(world).who} on {last(world).host} began to deploy images meanwhile, and was first" in said
    world.require_whole()
    world.end()


CUT = [("lambda", {"canary": CANARY}, Call("cloudwatch", "GetMetricStatistics", 0), "version 1 all requests"),
       ("lambda", {}, Call("lambda", "PublishVersion", 0), "what served before still does"),
       ("sagemaker", LONG, Call("sagemaker", "DescribeEndpoint", 0), "SageMaker goes on by itself"),
       ("sagemaker", {}, Call("s3", "PutObject", 0), "what served before still does")]


@pytest.mark.parametrize(("target", "options", "call", "said"), CUT, ids=[f"{t}, {c.operation}" for t, _, c, _ in CUT])
def test_ctrl_c_leaves_nothing_broken_and_says_what_was_done_and_what_comes_next(
    begin: Callable[..., World], forker: Forker, target: str, options: dict[str, Any], call: Call, said: str  # noqa: F811
) -> None:
    world = begin(target, f"cut-{target[0]}-{call.operation[:3]}".lower(), options)
    deployer = forker.start(world.task(waits=True))
    deployer.until(deployer.planned)
    recorded.hold("hold", call, skip=1 if call.operation in ("DescribeEndpoint", "PutObject") else 0)
    deployer.go_on()
    deployer.until(lambda: recorded.held() is not None)
    deployer.send(signal.SIGINT)
    kind, told = deployer.result()
    recorded.let_go()
    assert (kind, said in told) == ("Stopped", True), told
    assert "stopped at step" in told and "done" in told and "Next: run the same again" in told
    assert last(world).kind is Kind.STOPPED
    assert world.served() == {world.digest(1)}, "nothing of the new release answers anybody"
    journal.require_free(world.place.logbook("images").read(), datetime.now(UTC), lambda entry: True)
    (standing,) = status_of("images", (target,), lambda name: world.place).targets
    assert standing.drift[0].startswith("the last deployment was stopped at step"), standing
    world.run()
    world.require_whole()
    assert world.run() == 0
    world.end()


@BOTH
def test_ctrl_c_at_the_command_ends_with_130_and_the_same_command_finishes(
    begin: Callable[..., World], target: str, tmp_path: Path
) -> None:
    world = begin(target, f"typed-{target}")
    world.run()
    (tmp_path / "slipway.yaml").write_text(json.dumps(world.settings))
    command = [sys.executable, "-m", "slipway", "rollback", "images", "--target", target]
    options: dict[str, Any] = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "text": True,
                               "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    recorded.hold("hold", Call("lambda", "Invoke", 0) if target == "lambda" else Call("sagemaker", "UpdateEndpoint", 0),
                  skip=0)
    with subprocess.Popen(command, **options) as process:
        ends = time.monotonic() + 120
        while recorded.held() is None:
            assert process.poll() is None and time.monotonic() < ends
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    recorded.let_go()
    assert process.returncode == 130, errors
    assert "stopped at step 2 of" in errors and "1 step was done" in errors, errors
    assert world.served() == {world.digest(2)}
    assert subprocess.run(command, **options, timeout=120).returncode == 0
    world.version = 1
    world.require_whole()
    world.end()


@BOTH
def test_a_deployer_leaves_nothing_where_it_ran_that_the_next_one_could_read(
    begin: Callable[..., World], forker: Forker, target: str  # noqa: F811
) -> None:
    world = begin(target, f"disk-{target}")
    deployer = forker.start(replace(world.task(), watched=True))
    assert isinstance(deployer.result(), int), deployer.result()
    written = json.loads((deployer.home / "written").read_text())
    assert written, "its archive at least"
    temporary = [f"{tempfile.gettempdir()}/{prefix}" for prefix in ("slipway-", tempfile.gettempprefix())]
    ours = (f"{deployer.home}/", *temporary, "/dev/")
    assert [path for path in written if not path.startswith(ours)] == []
    world.end()


def test_a_layer_whose_answer_is_lost_is_not_published_again(forker: Forker, bundle: Bundle) -> None:  # noqa: F811
    for kind in ("lost", "late"):
        world = World(forker, bundle, "lambda", f"layer-{kind}")
        world.release()
        recorded.expect(kind, Call("lambda", "PublishLayerVersion", 0), seconds=4)
        forker.run(replace(world.task(), variables={"AWS_MAX_ATTEMPTS": "3", "SLIPWAY_READ_TIMEOUT": "2"}))
        world.require_whole()
        world.end()
