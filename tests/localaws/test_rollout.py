"""The laws of moving traffic, with no process running."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.localaws.alarms import Rule, State, evaluate
from serving.localaws.endpoints.deployment import Blueprint, VariantFleet, choose, shadow_share
from serving.localaws.endpoints.records import Variant
from serving.localaws.endpoints.rollout import ALL_AT_ONCE, Step, plan
from serving.localaws.errors import AwsError
from serving.localaws.functions.catalog import Alias
from serving.localaws.functions.traffic import check_weights
from serving.localaws.functions.traffic import choose as choose_version
from serving.localaws.statistics import Point, known, statistic

RULE = Rule("Sum", 60, 3, 2, "GreaterThanOrEqualToThreshold", 1.0)


def routing(kind: str, value: int, *, unit: str = "CAPACITY_PERCENT") -> dict[str, object]:
    member = "CanarySize" if kind == "CANARY" else "LinearStepSize"
    inner = {"Type": kind, "WaitIntervalInSeconds": 60, member: {"Type": unit, "Value": value}}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": inner}}


def fleets(*weights: float) -> list[VariantFleet]:
    blueprint = Blueprint({}, False, "us-east-1", "")
    return [VariantFleet(Variant(str(n), "m", 1, weight, {}), blueprint) for n, weight in enumerate(weights)]


def test_without_guardrails_all_traffic_moves_at_once() -> None:
    assert plan(None, 1) == ALL_AT_ONCE


def test_a_canary_has_two_steps() -> None:
    assert plan(routing("CANARY", 30), 1).steps == (Step(30, 60), Step(100, 60))


@given(st.integers(10, 50))
def test_linear_steps_rise_to_exactly_all(percent: int) -> None:
    steps = [step.percent for step in plan(routing("LINEAR", percent), 1).steps]
    assert steps == sorted(set(steps))
    assert steps[-1] == 100
    assert all(later - earlier <= percent for earlier, later in zip([0, *steps], steps, strict=False))


def test_a_size_in_instances_is_a_share_of_the_fleet() -> None:
    assert plan(routing("CANARY", 1, unit="INSTANCE_COUNT"), 4).steps[0].percent == 25


def test_a_canary_over_half_the_fleet_is_refused() -> None:
    with pytest.raises(AwsError, match="at most 50 percent"):
        plan(routing("CANARY", 2, unit="INSTANCE_COUNT"), 3)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=5), st.floats(0, 1, exclude_max=True))
def test_a_variant_of_weight_zero_gets_no_request(weights: list[float], draw: float) -> None:
    chosen = choose(fleets(*weights), draw)
    assert (chosen is None) <= (sum(weights) < 1e-9 or draw > 0.999)
    assert chosen is None or chosen.variant.weight > 0


@given(st.floats(0, 1), st.floats(0, 1, exclude_max=True))
def test_an_alias_sends_a_draw_below_the_share_to_the_other_version(share: float, draw: float) -> None:
    alias = Alias("live", "arn", "1", weights=check_weights("1", {"2": share}, frozenset("12")))
    assert choose_version(alias, draw) == ("2" if draw < share else "1")


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_zero_and_one_is_refused(share: float) -> None:
    with pytest.raises(AwsError, match=r"between 0\.0 and 1\.0"):
        check_weights("1", {"2": share}, frozenset("12"))


def test_a_shadow_sees_its_share_and_never_more_than_all() -> None:
    shadow = Variant("s", "m", 1, 1.0, {})
    assert shadow_share(shadow, fleets(3, 1)) == 0.25
    assert shadow_share(replace(shadow, weight=9), fleets(3, 1)) == 1.0
    assert shadow_share(shadow, fleets(0)) == 0.0


def values(*per_period: float | None) -> list[Point]:
    """One value in each period, newest first; None for a period without any."""
    return [Point(60 * n + 30, v, v, v) for n, v in enumerate(per_period) if v is not None]


@pytest.mark.parametrize(
    ("points", "missing", "state"),
    [
        (values(1, 1, 0), "missing", State.ALARM),
        (values(1, 0, 0), "missing", State.OK),
        (values(1, None, None), "missing", State.OK),
        (values(1, None, 0), "breaching", State.ALARM),
        (values(None, None, None), "missing", State.INSUFFICIENT_DATA),
        (values(None, None, None), "notBreaching", State.OK),
        (values(None, None, None), "breaching", State.ALARM),
        (values(None, None, None), "ignore", State.ALARM),  # as it was before
    ],
)
def test_an_alarm_fires_when_enough_periods_breach(points: list[Point], missing: str, state: State) -> None:
    assert evaluate(replace(RULE, missing=missing), points, State.ALARM) is state


def test_statistics_are_those_of_cloudwatch() -> None:
    points = [Point(0, value, value, value) for value in (1.0, 2.0, 3.0, 10.0)]
    found = {
        name: statistic(name, points) for name in ("Sum", "Average", "Minimum", "Maximum", "SampleCount", "p50", "p99")
    }
    assert found == {"Sum": 16, "Average": 4, "Minimum": 1, "Maximum": 10, "SampleCount": 4, "p50": 2, "p99": 10}


def test_ranks_and_trimmed_statistics_leave_the_lower_bound_out_and_have_the_upper_one_in() -> None:
    points = [Point(0, value, value, value) for value in (1.0, 2.0, 3.0, 10.0)]
    names = ("PR(:2)", "PR(2:)", "PR(1:3)", "PR(:0.5)", "TC(1:3)", "TS(1:3)", "TM(1:3)", "TM(20:)", "p99.9")
    assert [statistic(name, points) for name in names] == [50, 50, 50, 0, 2, 5, 2.5, 0, 10]


def test_statistics_that_are_not_played_are_known_to_be_none() -> None:
    assert not any(map(known, ("tm90", "TM(10%:90%)", "IQM", "p101", "PR(a:b)", "Median")))
    with pytest.raises(ValueError, match="no statistic tm90"):
        statistic("tm90", [Point(0, 1, 1, 1)])


def test_a_set_of_values_counts_as_many() -> None:
    points = [Point(0, 12.0, 1.0, 9.0, count=4.0)]
    assert [statistic(name, points) for name in ("Sum", "Average", "Maximum", "SampleCount")] == [12, 3, 9, 4]
