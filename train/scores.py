"""How good are these answers? Pure functions of labels and answers, each figure with its interval.

Everything that follows from the confusion matrix is resampled as the matrix: drawing n rows with
replacement is one multinomial draw over its cells, so 1,000 resamples cost milliseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .words import Array, Metrics

RESAMPLES = 1000


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


def from_confusion(matrix: Array, labels: tuple[str, ...], *, seed: int) -> Metrics:
    """Accuracy, and recall, precision and F1 macro and per class, each with its 95 % interval."""
    resampled = _resample(matrix, seed)
    made = _with_interval("accuracy", accuracy(matrix), accuracy(resampled))
    for name, score in PER_CLASS.items():
        point, drawn = score(matrix), score(resampled)
        made |= _with_interval(f"{name}_macro", np.nanmean(point), np.nanmean(drawn, axis=-1))
        for index, label in enumerate(labels):
            made |= _with_interval(f"{name}.{label}", point[index], drawn[:, index])
    return made


def _resample(matrix: Array, seed: int) -> Array:
    total, cells = int(matrix.sum()), matrix.ravel()
    drawn = np.random.default_rng(seed).multinomial(total, cells / total, size=RESAMPLES)
    return drawn.reshape(RESAMPLES, *matrix.shape)


def _with_interval(name: str, value: Any, resampled: Array) -> Metrics:
    """`name` and its bounds; a figure that does not exist for these rows is left out, not guessed."""
    if not np.isfinite(value):
        return {}
    low, high = np.nanpercentile(resampled, [2.5, 97.5])
    return {name: float(value), f"{name}.ci_low": float(low), f"{name}.ci_high": float(high)}
