"""CloudWatch alarms that watch: moto 5.2.5 keeps alarms and never evaluates one.

An alarm is looked at twice a second over the last EvaluationPeriods periods ending now; AWS looks once per period or
every ten seconds, so an alarm fires a little earlier here. Alarms on metric math, and on
statistics that are not played, are left as they were set.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/AlarmThatSendsEmail.html
"""

from __future__ import annotations

import json
import operator
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum

from moto.cloudwatch.models import Alarm, MetricDatumBase

from serving.localaws import account, statistics
from serving.localaws.statistics import Point

_EVERY_SECONDS = 0.5
_SIGNATURE = "Evaluated by slipway local"
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanOrEqualToThreshold": operator.ge,
    "GreaterThanThreshold": operator.gt,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}


class State(Enum):
    """An alarm's state, in CloudWatch's words."""

    OK = "OK"
    ALARM = "ALARM"
    INSUFFICIENT_DATA = "INSUFFICIENT_DATA"


@dataclass(frozen=True, slots=True)
class Rule:
    """When does an alarm fire? Periods in seconds; ``missing`` is TreatMissingData."""

    statistic: str
    period: float
    periods: int
    to_alarm: int
    comparison: str
    threshold: float
    missing: str = "missing"


def evaluate(rule: Rule, points: Sequence[Point], before: State) -> State:
    """The state that a rule gives to points, as CloudWatch evaluates them. No I/O happens here."""
    windows = [
        [point for point in points if number * rule.period <= point.age < (number + 1) * rule.period]
        for number in range(rule.periods)
    ]
    compare = _COMPARISONS[rule.comparison]
    breaching = sum(1 for window in windows
                    if window and compare(statistics.statistic(rule.statistic, window), rule.threshold))
    empty = sum(1 for window in windows if not window)
    if rule.missing == "breaching":
        breaching += empty
    if breaching >= rule.to_alarm:
        return State.ALARM
    if empty == rule.periods and rule.missing in ("missing", "ignore"):
        return State.INSUFFICIENT_DATA if rule.missing == "missing" else before
    return State.OK


def firing(region: str, names: Sequence[str]) -> tuple[str, ...]:
    """Which of these alarms are in ALARM?"""
    known = {alarm.name: alarm for alarm in account.alarms(region)}
    return tuple(name for name in names if name in known and known[name].state_value == State.ALARM.value)


class Watcher:
    """Evaluates every alarm of the regions in use, until stopped."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Evaluate no more."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            for region in account.regions_with_alarms():
                data = account.metric_data(region)
                for alarm in account.alarms(region):
                    _look(alarm, data)


def _look(alarm: Alarm, data: Sequence[MetricDatumBase]) -> None:
    rule = _rule(alarm)
    if rule is None or _set_by_hand(alarm, rule):
        return
    state = evaluate(rule, _points(alarm, data, rule), State(alarm.state_value))
    if state.value != alarm.state_value:
        alarm.update_state(f"{_SIGNATURE}: {state.value}", json.dumps({"version": "1.0"}), state.value)


def _set_by_hand(alarm: Alarm, rule: Rule) -> bool:
    """A state set by hand stays for one period, about as long as until AWS's next evaluation."""
    by_hand = alarm.history and not str(alarm.state_reason).startswith(_SIGNATURE)
    return bool(by_hand) and time.time() - account.epoch(alarm.state_updated_timestamp) < rule.period


def _rule(alarm: Alarm) -> Rule | None:
    if alarm.metric_data_queries or not alarm.metric_name:
        return None
    chosen = alarm.statistic or alarm.extended_statistic or "Average"
    if not statistics.known(chosen):
        return None
    periods = int(alarm.evaluation_periods or 1)
    return Rule(
        statistic=chosen,
        period=float(alarm.period or 60),
        periods=periods,
        to_alarm=int(alarm.datapoints_to_alarm or periods),
        comparison=str(alarm.comparison_operator),
        threshold=float(alarm.threshold or 0),
        missing=alarm.treat_missing_data or "missing",
    )


def _points(alarm: Alarm, data: Sequence[MetricDatumBase], rule: Rule) -> list[Point]:
    wanted = {(dimension.name, dimension.value) for dimension in alarm.dimensions}
    span, now = rule.period * rule.periods, time.time()
    found = []
    for datum in reversed(data):
        if datum.namespace != alarm.namespace or datum.name != alarm.metric_name:
            continue
        if {(dimension.name, dimension.value) for dimension in datum.dimensions} != wanted:
            continue
        age = now - account.epoch(datum.timestamp)
        if age < span:
            found.append(statistics.point(datum, max(0.0, age)))
    return found
