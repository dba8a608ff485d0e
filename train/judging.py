"""What a fitted model is worth on held-out rows: figures, slices and pictures, whatever the task."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from . import plots, scores
from .words import Array, Dataset, Examples, Fitted, Kind, Metrics, Split, Task

# A slice column with more values than this is cut: numbers into quarters, words to the most frequent.
MOST_SLICES, NUMBER_BINS = 20, 4
SMALLEST_SLICE = 5


def judge(task: Task, fitted: Fitted, dataset: Dataset, parts: Split, *, seed: int) -> Metrics:
    """The held-out figures, named held_out.<figure>, and slice.<column>.<value>.<figure>."""
    answers = fitted.answers(parts.held_out.inputs)
    figures = _figures(parts.held_out, answers, dataset, seed)
    if task.more_scores is not None:
        figures |= task.more_scores(fitted, dataset, parts)
    made = {f"held_out.{name}": value for name, value in figures.items()}
    if dataset.kind is Kind.CLASSIFICATION and len(dataset.labels) == 2:
        made |= _at_threshold(fitted, answers, parts)
    return made | _sliced(parts, answers, dataset)


def _figures(rows: Examples, answers: Array, dataset: Dataset, seed: int) -> Metrics:
    if dataset.kind is Kind.CLASSIFICATION:
        return scores.classification(rows.target, answers, dataset.labels, seed=seed)
    return scores.regression(rows.target, answers, seed=seed)


def _at_threshold(fitted: Fitted, answers: Array, parts: Split) -> Metrics:
    """What the second class's figures would be with the threshold that is best on validation."""
    threshold = scores.best_threshold(parts.validation.target, fitted.answers(parts.validation.inputs)[:, 1])
    matrix = scores.confusion(parts.held_out.target, (answers[:, 1] >= threshold).astype(np.int64), 2)
    made = {"threshold": threshold, "held_out.at_threshold.accuracy": float(scores.accuracy(matrix))}
    for name, score in scores.PER_CLASS.items():
        made[f"held_out.at_threshold.{name}"] = float(score(matrix)[1])
    return made


def _sliced(parts: Split, answers: Array, dataset: Dataset) -> Metrics:
    made = Metrics()
    for column, values in parts.held_out.aside.items():
        for name, rows in slices(values, parts.train.aside[column]):
            if len(rows) < SMALLEST_SLICE:
                continue
            figures = _plain(parts.held_out.target[rows], answers[rows], dataset)
            made |= {f"slice.{column}.{name}.{figure}": value for figure, value in figures.items()}
    return made


def slice_names(parts: Split) -> dict[str, Array]:
    """For each slice column the name of the slice that each held-out row is in; "" for rows in none."""
    made: dict[str, Array] = {}
    for column, values in parts.held_out.aside.items():
        names = np.full(len(values), "", dtype=object)
        for name, rows in slices(values, parts.train.aside[column]):
            names[rows] = name
        made[column] = names.astype(str)
    return made


def slices(values: Array, train: Array) -> Iterator[tuple[str, Array]]:
    """The named groups of rows that a column cuts the held-out rows into; borders come from train."""
    if _is_quantity(train):
        edges = np.unique(np.quantile(train.astype(np.float64), np.linspace(0, 1, NUMBER_BINS + 1)[1:-1]))
        place = np.digitize(values.astype(np.float64), edges)
        ends = ["", *(f"{edge:g}" for edge in edges), ""]
        for index in range(len(edges) + 1):
            yield f"{ends[index]}..{ends[index + 1]}", np.flatnonzero(place == index)
        return
    names, counts = np.unique(train.astype(str), return_counts=True)
    for name in names[np.argsort(-counts, kind="stable")[:MOST_SLICES]]:
        yield str(name), np.flatnonzero(values.astype(str) == name)


def _is_quantity(values: Array) -> bool:
    if len(set(values.tolist())) <= MOST_SLICES:
        return False
    try:
        return bool(np.isfinite(values.astype(np.float64)).all())
    except ValueError:
        return False


def _plain(truth: Array, answers: Array, dataset: Dataset) -> Metrics:
    if dataset.kind is not Kind.CLASSIFICATION:
        rmse = float(np.sqrt(np.mean((truth.astype(np.float64) - answers) ** 2)))
        return {"rows": float(len(truth)), "rmse": rmse}
    matrix = scores.confusion(truth, answers.argmax(axis=1), len(dataset.labels))
    recalls = scores.recall(matrix)
    return {
        "rows": float(len(truth)),
        "accuracy": float(scores.accuracy(matrix)),
        "recall_macro": float(np.nanmean(recalls)),
        "f1_macro": float(np.nanmean(scores.f1(matrix))),
    }


def pictures(fitted: Fitted, dataset: Dataset, parts: Split, history: list[Metrics]) -> dict[str, bytes]:
    """The PNG pictures of a run, by name."""
    truth, answers = parts.held_out.target, fitted.answers(parts.held_out.inputs)
    made: dict[str, bytes] = {}
    if history:
        made["learning_curves"] = plots.learning_curves(history, fitted.best_epoch)
    if dataset.kind is not Kind.CLASSIFICATION:
        return made | {"residuals": plots.residuals(truth, answers)}
    matrix = scores.confusion(truth, answers.argmax(axis=1), len(dataset.labels))
    made["confusion_matrix"] = plots.confusion_matrix(matrix, dataset.labels)
    made["precision_recall"] = plots.precision_recall(truth, answers, dataset.labels)
    made["calibration"] = plots.calibration(truth, answers)
    return made
