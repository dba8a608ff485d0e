"""How good are these predictions? Pure functions over arrays. No I/O happens here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from registry import intervals
from registry.intervals import Interval
from registry.measured import Calibration, Figure, Slice

Indices = NDArray[np.int64]
Numbers = NDArray[np.float64]
RESAMPLES = 1000
BINS = 15  # as Guo et al. (2017), "On Calibration of Modern Neural Networks"
MOST_SLICES = 200


def class_indices(output: NDArray[Any], labels: Sequence[str]) -> Indices:
    """Turn what a classifier answers into one class index per row.

    Args:
        output: probabilities or scores, shape (rows, classes); one score per row, shape (rows, 1), for two classes;
            or the classes themselves, shape (rows,), as indices or as the labels' own text.
        labels: the classes in index order.

    Raises:
        ValueError: when the answer fits none of these.
    """
    if output.ndim == 2 and output.shape[1] == len(labels) and len(labels) > 1:
        return np.asarray(output.argmax(axis=1), dtype=np.int64)
    if output.ndim == 2 and output.shape[1] == 1:
        output = output[:, 0]
        if np.issubdtype(output.dtype, np.floating) and len(labels) == 2:
            return (output >= 0.5).astype(np.int64)
    if output.ndim != 1:
        raise ValueError(f"the model answers with shape {output.shape}, wanted (rows,) or (rows, {len(labels)})")
    place = {label: index for index, label in enumerate(labels)}
    named = [place.get(_text(value)) for value in output.tolist()]
    if all(index is not None for index in named):
        return np.asarray(named, dtype=np.int64)
    if np.issubdtype(output.dtype, np.integer) and output.min() >= 0 and output.max() < len(labels):
        return output.astype(np.int64)
    raise ValueError(f"the model answers with classes that are not among {', '.join(labels)}")


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def classification(truth: Indices, predicted: Indices, labels: Sequence[str]) -> dict[str, float]:
    """Accuracy, and recall of each class that occurs, their mean and their lowest, all in [0, 1].

    A class without a held-out row has no recall and is left out of the mean.
    """
    right = truth == predicted
    recalls = {
        label: float(right[truth == index].mean()) for index, label in enumerate(labels) if (truth == index).any()
    }
    measures = {f"recall.{label}": recall for label, recall in recalls.items()}
    return measures | {
        "accuracy": float(right.mean()),
        "recall_macro": float(np.mean(list(recalls.values()))),
        "recall_lowest": min(recalls.values()),
    }


def regression(truth: Numbers, said: Numbers) -> dict[str, float]:
    """Mean absolute and root mean squared error, and the share of variance explained (0 for a constant truth)."""
    miss, spread = truth - said, float(((truth - truth.mean()) ** 2).sum())
    squares = float((miss**2).sum())
    return {
        "mae": float(np.abs(miss).mean()),
        "rmse": float(np.sqrt(squares / len(truth))),
        "r2": 1 - squares / spread if spread else 0.0,
    }


def classification_intervals(truth: Indices, predicted: Indices, labels: Sequence[str]) -> dict[str, Interval]:
    """The 95 % interval of each measure that `classification` gives."""
    right = truth == predicted
    of = {label: (truth == index) for index, label in enumerate(labels) if (truth == index).any()}
    recalls = {label: (float(right[rows].mean()), int(rows.sum())) for label, rows in of.items()}
    return {f"recall.{label}": intervals.wilson(*recall) for label, recall in recalls.items()} | {
        "accuracy": intervals.wilson(float(right.mean()), len(right)),
        "recall_macro": intervals.of_mean(list(recalls.values())),
        "recall_lowest": intervals.of_lowest(list(recalls.values())),
    }


def regression_intervals(truth: Numbers, said: Numbers) -> dict[str, Interval]:
    """The 95 % interval of each measure that `regression` gives, from resampled rows (Efron 1979, percentiles)."""
    rng, rows = np.random.default_rng(0), len(truth)
    drawn = [regression(truth[at], said[at]) for at in (rng.integers(0, rows, rows) for _ in range(RESAMPLES))]
    ends = {name: np.percentile([one[name] for one in drawn], (2.5, 97.5)) for name in drawn[0]}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}


def relative_gain(truth: Numbers, candidate: Numbers, champion: Numbers) -> tuple[float, float, float]:
    """By what share is the candidate's mean absolute error smaller, with its 90 % interval?

    A paired bootstrap: rows are drawn with replacement for both at once (Efron and Tibshirani 1993, percentiles).
    """
    mine, theirs = np.abs(candidate - truth), np.abs(champion - truth)
    rng, rows = np.random.default_rng(0), len(truth)

    def gain(weights: NDArray[Any]) -> float:
        whole = float(weights @ theirs)
        return 1 - float(weights @ mine) / whole if whole else -float(weights @ mine > 0)

    drawn = [gain(np.bincount(rng.integers(0, rows, rows), minlength=rows)) for _ in range(RESAMPLES)]
    low, high = np.percentile(drawn, (5, 95))
    return gain(np.ones(rows)), float(low), float(high)


def discordant(truth: Indices, candidate: Indices, champion: Indices) -> tuple[int, int]:
    """On how many rows is only the candidate right, and on how many only the champion?"""
    mine, theirs = candidate == truth, champion == truth
    return int((mine & ~theirs).sum()), int((theirs & ~mine).sum())


def probabilities_of(output: NDArray[Any], classes: int) -> Numbers | None:
    """The probability of each class, shape (rows, classes), where a classifier answers with such; else None.

    One column of numbers within [0, 1] is the probability of the second of two classes.
    """
    if output.dtype.kind != "f":
        return None
    if output.ndim == 2 and output.shape[1] == 1 and classes == 2:
        output = np.hstack([1 - output, output])
    if output.ndim != 2 or output.shape[1] != classes or classes < 2:
        return None
    wide = output.astype(np.float64)
    sums = np.abs(wide.sum(axis=1) - 1) < 1e-3
    return wide if bool((wide >= -1e-6).all()) and bool(sums.all()) else None


def calibration(truth: Indices, probabilities: Numbers) -> Calibration:
    """Expected calibration error and Brier score, each with its 95 % bootstrap interval over rows (percentiles).

    The error is the mean over BINS bins of equal width of |share right - mean confidence| of the class that was named,
    weighted by rows: Naeini, Cooper and Hauskrecht (2015), AAAI 29; bins as Guo et al. (2017). With few rows it is too
    large rather than too small. The score is the mean squared distance from the truth over all classes: Brier (1950),
    Monthly Weather Review 78.
    """
    rows, confidence = len(truth), probabilities.max(axis=1)
    gap = confidence - (probabilities.argmax(axis=1) == truth)
    place = np.clip((confidence * BINS).astype(np.int64), 0, BINS - 1)
    squares = ((probabilities - np.eye(probabilities.shape[1])[truth]) ** 2).sum(axis=1)

    def error(weights: Numbers) -> float:
        return float(np.abs(np.bincount(place, weights=weights * gap, minlength=BINS)).sum() / weights.sum())

    def brier(weights: Numbers) -> float:
        return float(weights @ squares / weights.sum())

    return Calibration(BINS, _with_interval(error, rows), _with_interval(brier, rows))


def _with_interval(figure: Callable[[Numbers], float], rows: int) -> Figure:
    rng = np.random.default_rng(0)
    drawn = [figure(np.bincount(rng.integers(0, rows, rows), minlength=rows).astype(np.float64))
             for _ in range(RESAMPLES)]
    value = figure(np.ones(rows))
    # A mean of absolute values grows when rows are drawn twice: the resamples are moved back onto the value itself.
    low, high = np.percentile(drawn, (2.5, 97.5)) - (float(np.mean(drawn)) - value)
    return Figure(value, max(0.0, float(low)), float(high))


def sliced(
    columns: Mapping[str, NDArray[Any]], measures: Callable[[NDArray[np.int64]], dict[str, float]]
) -> Iterator[Slice]:
    """The figures on each group of rows, by each column's values; rows without a value (an empty text) are in none.

    Args:
        columns: column -> the name of the group that each row is in.
        measures: the figures on these rows.
    """
    made = 0
    for column, values in columns.items():
        text = values.astype(str)
        for value in np.unique(text):
            if value and made < MOST_SLICES:
                rows = np.flatnonzero(text == value)
                made += 1
                yield Slice(column, str(value)[:100], len(rows), measures(rows))
