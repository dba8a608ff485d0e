"""CloudWatch's statistics over metric values: those that moto 5.2.5 has, and percentiles, ranks and trimmed counts.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html, read 2026-11: of the values
between two bounds the lower one is left out and the upper one is in. Bounds in percent (TM(10%:90%), tm90, IQM) are not
played. Here every value is known; AWS says nothing of how exactly it knows them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from moto.cloudwatch.models import MetricAggregatedDatum, MetricDatum, MetricDatumBase

PLAIN = ("SampleCount", "Sum", "Average", "Minimum", "Maximum")
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,10})?|100)")
_NUMBER = r"-?\d+(?:\.\d{1,10})?"
_BETWEEN = re.compile(rf"(PR|TC|TM|TS)\(({_NUMBER})?:({_NUMBER})?\)")


@dataclass(frozen=True, slots=True)
class Point:
    """A metric value, ``age`` seconds old; a set of values is told by its four numbers."""

    age: float
    total: float
    least: float
    most: float
    count: float = 1.0


def point(datum: MetricDatumBase, age: float = 0.0) -> Point:
    """The same as moto keeps it."""
    if isinstance(datum, MetricAggregatedDatum):
        return Point(age, datum.sum, datum.min, datum.max, datum.sample_count)
    assert isinstance(datum, MetricDatum)  # noqa: S101 - moto has these two kinds
    return Point(age, datum.value, datum.value, datum.value)


def known(name: str) -> bool:
    """Is this statistic played?"""
    return name in PLAIN or bool(_PERCENTILE.fullmatch(name) or _BETWEEN.fullmatch(name))


def statistic(name: str, points: Sequence[Point]) -> float:
    """A statistic over some points: a plain one, a percentile such as p90, or one between bounds such as PR(:300).

    Raises:
        ValueError: it is not played.
    """
    if name in PLAIN:
        return _plain(name, points)
    if found := _PERCENTILE.fullmatch(name):
        ordered = sorted(one.most for one in points)
        return ordered[max(0, math.ceil(float(found[1]) / 100 * len(ordered)) - 1)]
    if found := _BETWEEN.fullmatch(name):
        return _between(found[1], float(found[2] or "-inf"), float(found[3] or "inf"), points)
    raise ValueError(f"the local AWS has no statistic {name}")


def _plain(name: str, points: Sequence[Point]) -> float:
    count = sum(one.count for one in points)
    if name == "SampleCount":
        return count
    if name in ("Sum", "Average"):
        return sum(one.total for one in points) / (count if name == "Average" else 1)
    return min(one.least for one in points) if name == "Minimum" else max(one.most for one in points)


def _between(name: str, low: float, high: float, points: Sequence[Point]) -> float:
    inside = [one for one in points if low < one.most <= high]
    total, count = sum(one.total for one in inside), sum(one.count for one in inside)
    if name == "PR":
        return 100 * count / sum(one.count for one in points)
    return {"TC": count, "TS": total, "TM": total / count if count else 0.0}[name]
