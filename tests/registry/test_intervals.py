"""Intervals beside the truth that they claim to hold."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from registry.answers import Amounts, Classes
from registry.intervals import Interval, of_lowest, of_mean, wilson

RECALLS = (0.99, 0.9, 0.8)  # the true ones, of three classes
ROWS = 40


@pytest.mark.parametrize(
    ("share", "rows", "low", "high"), [(0.9, 100, 0.8256, 0.9448), (0, 10, 0, 0.2775), (1, 10, 0.7225, 1)]
)
def test_the_interval_of_a_share_is_wilsons(share: float, rows: int, low: float, high: float) -> None:
    assert wilson(share, rows) == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("truth", "interval"), [(np.mean(RECALLS), of_mean), (min(RECALLS), of_lowest)])
def test_the_true_recall_is_inside_as_often_as_claimed(
    truth: float, interval: Callable[[list[tuple[float, int]]], Interval]
) -> None:
    drawn = np.random.default_rng(0).binomial(ROWS, RECALLS, (4000, len(RECALLS))) / ROWS
    found = [interval([(float(share), ROWS) for share in shares]) for shares in drawn]
    assert np.mean([low <= truth <= high for low, high in found]) >= 0.94


def test_every_row_right_is_no_certainty() -> None:
    truth = np.array([0, 1] * 20)
    sure = Classes(truth, ("no", "yes")).intervals(truth)
    assert all(low < 1 for low, _ in sure.values())


def test_every_measure_of_classes_and_of_numbers_has_one_that_holds_it() -> None:
    draw = np.random.default_rng(0)
    truth = draw.integers(0, 3, 90)
    said = np.where(draw.uniform(size=90) < 0.8, truth, 0)
    for answers in (Classes(said, ("a", "b", "c")), Amounts(said.astype(np.float64))):
        measures, sure = answers.measures(truth), answers.intervals(truth)
        assert measures.keys() == sure.keys()
        assert all(sure[name][0] <= value <= sure[name][1] for name, value in measures.items())
