"""How good are these answers? Pure functions of truth and answers, each figure with its 95 % interval.

Shares of rows (accuracy, recall, precision) have Wilson's interval and their means over classes what follows from
it, as in the registry's gates: resampled rows cannot tell how sure a share is where every row was right. All else
is bootstrap percentiles over rows. F1 follows from the confusion matrix and is resampled as the matrix (drawing n
rows with replacement is one multinomial draw over its cells), the rest by row weights.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from registry import of_mean, wilson

from .words import Array, Metrics

MATRIX_RESAMPLES, ROW_RESAMPLES = 1000, 200
CALIBRATION_BINS = 15
SMALLEST_PROBABILITY = 1e-7


def confusion(truth: Array, predicted: Array, classes: int) -> Array:
    """Counts, shape (classes, classes): rows are the truth, columns what was said."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def recall(matrix: Array) -> Array:
    """Share of each true class that was found, shape (..., classes); NaN where a class has no rows."""
    return _share(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1), np.nan)


def precision(matrix: Array) -> Array:
    """Share of each named class that was right; 0 where it was never named."""
    return _share(np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-2), 0.0)


def f1(matrix: Array) -> Array:
    """Harmonic mean of precision and recall, per class: 2 hits / (named + true)."""
    hits = np.diagonal(matrix, axis1=-2, axis2=-1)
    return _share(2 * hits, matrix.sum(-1) + matrix.sum(-2), np.nan)


def accuracy(matrix: Array) -> Array:
    """Share of rows that were right, shape (...)."""
    return np.asarray(np.trace(matrix, axis1=-2, axis2=-1) / matrix.sum((-2, -1)))


def _share(part: Array, whole: Array, empty: float) -> Array:
    return np.asarray(np.divide(part, whole, out=np.full(whole.shape, empty), where=whole > 0))


PER_CLASS: dict[str, Callable[[Array], Array]] = {"recall": recall, "precision": precision, "f1": f1}


def classification(truth: Array, probabilities: Array, labels: tuple[str, ...], *, seed: int) -> Metrics:
    """Every figure of a classifier on these rows."""
    matrix = confusion(truth, probabilities.argmax(axis=1), len(labels))
    return from_confusion(matrix, labels, seed=seed) | from_probabilities(truth, probabilities, seed=seed)


def from_confusion(matrix: Array, labels: tuple[str, ...], *, seed: int) -> Metrics:
    """Accuracy, and recall, precision and F1 macro and per class, each with its 95 % interval."""
    share = float(accuracy(matrix))
    made = _bounded("accuracy", share, wilson(share, int(matrix.sum())))
    made |= _of_classes("recall", recall(matrix), matrix.sum(-1), labels)
    made |= _of_classes("precision", precision(matrix), matrix.sum(-2), labels)
    drawn = np.random.default_rng(seed).multinomial(matrix.sum(), matrix.ravel() / matrix.sum(), MATRIX_RESAMPLES)
    points, others = f1(matrix), f1(drawn.reshape(-1, *matrix.shape))
    made |= with_interval("f1_macro", _mean(points), np.nanmean(others, axis=-1))
    for index, label in enumerate(labels):
        made |= with_interval(f"f1.{label}", points[index], others[:, index])
    return made


def _of_classes(name: str, shares: Array, rows: Array, labels: tuple[str, ...]) -> Metrics:
    """One share for each class, of so many rows, and their mean; classes without one are left out."""
    known = [(label, float(share), int(count)) for label, share, count in zip(labels, shares, rows, strict=True)
             if np.isfinite(share)]  # fmt: skip
    mean = float(np.mean([share for _, share, _ in known]))
    made = _bounded(f"{name}_macro", mean, of_mean([(share, count) for _, share, count in known]))
    for label, share, count in known:
        made |= _bounded(f"{name}.{label}", share, wilson(share, count))
    return made


def interval_of(figure: str) -> str:
    """Whose interval does a figure have? `held_out.recall_macro` -> Wilson's."""
    name = figure.removeprefix("held_out.")
    of_shares = name == "accuracy" or name.startswith(("recall.", "recall_macro", "precision"))
    return "Wilson's" if of_shares else "bootstrap"


def _mean(values: Array) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else np.nan


def from_probabilities(truth: Array, probabilities: Array, *, seed: int) -> Metrics:
    """Log-loss, calibration error, and the area under the ROC curve (one class against the rest, their mean)."""
    scored = probabilities.astype(np.float64)
    figures: dict[str, Callable[[Array], float]] = {
        "log_loss": mean_of(-np.log(np.clip(scored[np.arange(len(truth)), truth], SMALLEST_PROBABILITY, 1))),
        "calibration_error": calibration_error(truth, scored),
        "auc": roc_area(truth, scored),
    }
    return resampled_rows(figures, len(truth), seed=seed)


def regression(truth: Array, said: Array, *, seed: int) -> Metrics:
    """Root mean squared error, mean absolute error and R squared."""
    miss = truth.astype(np.float64) - said.astype(np.float64)
    squares, spread = mean_of(miss**2), mean_of((truth - truth.mean()) ** 2.0)
    figures: dict[str, Callable[[Array], float]] = {
        "rmse": lambda weights: float(np.sqrt(squares(weights))),
        "mae": mean_of(np.abs(miss)),
        "r2": lambda weights: 1 - squares(weights) / spread(weights) if spread(weights) else np.nan,
    }
    return resampled_rows(figures, len(truth), seed=seed)


def mean_of(values: Array) -> Callable[[Array], float]:
    """The weighted mean of these values, as a function of the weights."""
    return lambda weights: float(weights @ values / weights.sum())


def calibration_error(truth: Array, probabilities: Array) -> Callable[[Array], float]:
    """Expected calibration error of the class that was named: mean |confidence - accuracy| over equal-width bins."""
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    gap = confidence - right

    def error(weights: Array) -> float:
        gaps = np.bincount(bins, weights=weights * gap, minlength=CALIBRATION_BINS)
        return float(np.abs(gaps).sum() / weights.sum())

    return error


def roc_area(truth: Array, probabilities: Array) -> Callable[[Array], float]:
    """The chance that a row of a class scores above one that is not; ties count half; mean over classes.

    Two classes have one area. Hanley and McNeil (1982); one class against the rest for more.
    """
    classes = range(1, 2) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    ranked = [_ranked(probabilities[:, index], truth == index) for index in classes]

    def area(weights: Array) -> float:
        return _mean(np.array([_area(*one, weights) for one in ranked]))

    return area


def _ranked(score: Array, positive: Array) -> tuple[Array, Array, Array]:
    order = np.argsort(score, kind="stable")
    _, ties = np.unique(score[order], return_inverse=True)
    return order, ties, positive[order]


def _area(order: Array, ties: Array, positive: Array, weights: Array) -> float:
    weight = weights[order]
    plus = np.bincount(ties, weights=weight * positive)
    minus = np.bincount(ties, weights=weight * ~positive)
    pairs = plus.sum() * minus.sum()
    return float((plus * (np.cumsum(minus) - minus / 2)).sum() / pairs) if pairs else np.nan


def resampled_rows(figures: dict[str, Callable[[Array], float]], rows: int, *, seed: int) -> Metrics:
    """Each figure on all rows and its interval over rows drawn with replacement."""
    rng = np.random.default_rng(seed)
    drawn: dict[str, list[float]] = {name: [] for name in figures}
    for _ in range(ROW_RESAMPLES):
        weights = np.bincount(rng.integers(rows, size=rows), minlength=rows).astype(np.float64)
        for name, figure in figures.items():
            drawn[name].append(figure(weights))
    everything, made = np.ones(rows), Metrics()
    for name, figure in figures.items():
        made |= with_interval(name, figure(everything), np.array(drawn[name]))
    return made


def with_interval(name: str, value: Any, resampled: Array) -> Metrics:
    """`name` and its bounds; a figure that does not exist for these rows is left out, not guessed."""
    if not np.isfinite(value):
        return {}
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return _bounded(name, float(value), (float(low), float(high)))


def _bounded(name: str, value: float, interval: tuple[float, float]) -> Metrics:
    return {name: value, f"{name}.ci_low": interval[0], f"{name}.ci_high": interval[1]}


def best_threshold(truth: Array, positive: Array) -> float:
    """The probability from which naming class 1 gives the best F1 on these rows; choose it on validation."""
    order = np.argsort(-positive, kind="stable")
    hits = np.cumsum(truth[order] == 1)
    score = 2 * hits / (np.arange(1, len(order) + 1) + max(int((truth == 1).sum()), 1))
    last_of_tie = np.append(np.diff(positive[order]) != 0, True)
    return float(positive[order][int(np.argmax(np.where(last_of_tie, score, -1)))])
