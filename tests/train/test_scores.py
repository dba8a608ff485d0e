"""Figures, held against scikit-learn's and against what an interval means."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from registry.answers import Classes
from train import scores


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 5), st.integers(20, 200))
def test_figures_are_those_of_scikit_learn(seed: int, classes: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(classes), rng.integers(classes, size=rows)])
    said = rng.dirichlet(np.ones(classes), size=len(truth))
    named = said.argmax(axis=1)
    made = scores.classification(truth, said, tuple(map(str, range(classes))), seed=0)
    assert made["accuracy"] == pytest.approx(metrics.accuracy_score(truth, named))
    assert made["recall_macro"] == pytest.approx(metrics.recall_score(truth, named, average="macro"))
    assert made["precision_macro"] == pytest.approx(
        metrics.precision_score(truth, named, average="macro", zero_division=0, labels=range(classes))
    )
    assert made["f1_macro"] == pytest.approx(metrics.f1_score(truth, named, average="macro"))
    assert made["log_loss"] == pytest.approx(metrics.log_loss(truth, said))
    scored = said[:, 1] if classes == 2 else said
    assert made["auc"] == pytest.approx(metrics.roc_auc_score(truth, scored, multi_class="ovr"))


def test_ties_count_half_in_the_area_under_the_curve() -> None:
    truth, positive = np.array([0, 1, 0, 1, 1]), np.array([0.5, 0.5, 0.2, 0.2, 0.9])
    said = np.stack([1 - positive, positive], axis=1)
    assert scores.roc_area(truth, said)(np.ones(5)) == pytest.approx(metrics.roc_auc_score(truth, positive))


def test_regression_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = rng.normal(size=300)
    said = truth + rng.normal(size=300)
    made = scores.regression(truth, said, seed=0)
    assert made["rmse"] == pytest.approx(metrics.root_mean_squared_error(truth, said))
    assert made["mae"] == pytest.approx(metrics.mean_absolute_error(truth, said))
    assert made["r2"] == pytest.approx(metrics.r2_score(truth, said))


def test_an_interval_covers_the_true_accuracy_about_nineteen_times_in_twenty() -> None:
    rng, covered = np.random.default_rng(0), 0
    for trial in range(200):
        right = rng.binomial(400, 0.9)
        made = scores.from_confusion(np.array([[right, 400 - right], [0, 0]]), ("a", "b"), seed=trial)
        covered += made["accuracy.ci_low"] <= 0.9 <= made["accuracy.ci_high"]
    assert 0.9 <= covered / 200 <= 0.99


@given(st.integers(0, 10_000), st.integers(2, 4), st.integers(1, 60), st.booleans())
def test_shares_have_the_interval_that_a_check_gives_them(seed: int, classes: int, rows: int, right: bool) -> None:
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=rows)
    said = truth if right else rng.integers(classes, size=rows)
    labels = tuple(map(str, range(classes)))
    made = scores.from_confusion(scores.confusion(truth, said, classes), labels, seed=0)
    checked = Classes(said, labels).intervals(truth)
    for name in checked.keys() - {"recall_lowest"}:
        assert (made[f"{name}.ci_low"], made[f"{name}.ci_high"]) == pytest.approx(checked[name]), name
        assert scores.interval_of(f"held_out.{name}") == "Wilson's"


def test_a_perfect_score_is_not_called_certain() -> None:
    made = scores.from_confusion(np.diag([30, 30]), ("a", "b"), seed=0)
    for name in ("accuracy", "recall_macro", "recall.a", "precision_macro", "precision.b"):
        assert made[name] == pytest.approx(made[f"{name}.ci_high"]) == 1.0
        assert 0.85 < made[f"{name}.ci_low"] < 0.97, name


def test_a_class_that_was_never_named_says_nothing_of_its_precision() -> None:
    made = scores.from_confusion(np.array([[9, 0], [3, 0]]), ("a", "b"), seed=0)
    assert (made["precision.b"], made["precision.b.ci_low"], made["precision.b.ci_high"]) == (0.0, 0.0, 1.0)


def test_a_class_without_rows_has_no_recall_instead_of_a_guessed_one() -> None:
    made = scores.from_confusion(np.array([[5, 0], [0, 0]]), ("a", "b"), seed=0)
    assert "recall.b" not in made
    assert made["recall_macro"] == 1.0


def test_perfectly_calibrated_answers_have_no_calibration_error_and_sure_wrong_ones_all_of_it() -> None:
    truth = np.array([0] * 80 + [1] * 20)
    said = np.tile([0.8, 0.2], (100, 1))
    assert scores.calibration_error(truth, said)(np.ones(100)) == pytest.approx(0, abs=1e-9)
    assert scores.calibration_error(np.ones(9, int), np.tile([1.0, 0.0], (9, 1)))(np.ones(9)) == 1.0


def test_the_best_threshold_finds_the_border_that_separates() -> None:
    truth, positive = np.array([0, 0, 1, 0, 1, 1]), np.array([0.1, 0.2, 0.25, 0.15, 0.3, 0.4])
    assert scores.best_threshold(truth, positive) == 0.25
