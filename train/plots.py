"""Pictures of a run, each returned as PNG bytes; nothing is shown and no global state is used."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .words import Array, Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, VALIDATION = "#3b6ea8", "#c8553d"
MOST_CURVES, CALIBRATION_BARS, MOST_POINTS = 10, 10, 5000


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    made = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(made)
    return made


def _png(figure: Figure) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def learning_curves(history: Sequence[Metrics], best_epoch: int) -> bytes:
    """Every per-epoch figure, train against validation, the kept epoch marked."""
    from matplotlib.ticker import MaxNLocator

    names = [name.removeprefix("train.") for name in history[0] if name.startswith("train.")]
    figure = _figure(5 * len(names), 3.6)
    epochs = np.arange(1, len(history) + 1)
    for position, name in enumerate(names, start=1):
        axes = figure.add_subplot(1, len(names), position)
        for part, colour in (("train", TRAIN), ("validation", VALIDATION)):
            values = [row.get(f"{part}.{name}", np.nan) for row in history]
            axes.plot(epochs, values, color=colour, label=part, marker="o" if len(history) < 3 else None)
        axes.axvline(best_epoch, color="0.6", linestyle=":", label=f"kept: epoch {best_epoch}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.legend(frameon=False)
    return _png(figure)


def confusion_matrix(matrix: Array, labels: Sequence[str]) -> bytes:
    """Counts of truth (rows) against answers (columns), shaded by the share of the true class."""
    size = max(3.2, 0.5 * len(labels) + 1.8)
    figure = _figure(size, size)
    axes = figure.add_subplot()
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    if len(labels) <= 25:
        for (row, column), count in np.ndenumerate(matrix):
            colour = "white" if share[row, column] > 0.5 else "black"
            axes.text(column, row, f"{count}" if count else "", ha="center", va="center", color=colour, fontsize=8)
    ticks = np.arange(len(labels))
    long_names = max(map(len, labels)) > 3
    axes.set_xticks(ticks, labels, rotation=45 if long_names else 0, ha="right" if long_names else "center")
    axes.set_yticks(ticks, labels)
    axes.set(xlabel="answered", ylabel="true", title="held out")
    return _png(figure)


def precision_recall(truth: Array, probabilities: Array, labels: Sequence[str]) -> bytes:
    """Precision against recall as the threshold moves: the second of two classes, or each of several."""
    figure = _figure(8.4 if len(labels) > 4 else 6.4, 4.4)
    axes = figure.add_subplot()
    shown = [1] if len(labels) == 2 else list(np.argsort(-np.bincount(truth, minlength=len(labels)))[:MOST_CURVES])
    for index in sorted(shown):
        hit = truth[np.argsort(-probabilities[:, index], kind="stable")] == index
        found = np.cumsum(hit)
        if found[-1]:
            steps = np.arange(1, len(hit) + 1)
            area = float((found / steps)[hit].mean())
            axes.plot(found / found[-1], found / steps, label=f"{labels[index]} (average precision {area:.3f})")
            axes.axhline(found[-1] / len(hit), color="0.8", linestyle=":", linewidth=0.8)
    axes.set(xlabel="recall", ylabel="precision", xlim=(0, 1.01), ylim=(0, 1.02), title="held out")
    beside = {"loc": "center left", "bbox_to_anchor": (1.01, 0.5)} if len(shown) > 4 else {"loc": "best"}
    axes.legend(frameon=False, fontsize=8, **beside)
    return _png(figure)


def calibration(truth: Array, probabilities: Array) -> bytes:
    """How often the named class was right, against how sure the model said it was."""
    figure = _figure(5.2, 5.0)
    upper, lower = figure.subplots(2, 1, height_ratios=(3, 1), sharex=True)
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == truth
    edges = np.linspace(0, 1, CALIBRATION_BARS + 1)
    place = np.clip(np.digitize(confidence, edges) - 1, 0, CALIBRATION_BARS - 1)
    counts = np.bincount(place, minlength=CALIBRATION_BARS)
    filled = counts > 0
    sure = np.bincount(place, weights=confidence, minlength=CALIBRATION_BARS)[filled] / counts[filled]
    true = np.bincount(place, weights=right, minlength=CALIBRATION_BARS)[filled] / counts[filled]
    upper.plot([0, 1], [0, 1], color="0.7", linestyle=":", label="calibrated")
    upper.scatter(sure, true, s=12 + 160 * counts[filled] / counts.max(), color=TRAIN, label="model (size: rows)")
    upper.set(ylabel="share right", xlim=(0, 1), ylim=(0, 1.03), title="held out")
    upper.legend(frameon=False, loc="upper left")
    lower.bar(edges[:-1], counts, width=edges[1], align="edge", color=TRAIN, edgecolor="white")
    lower.set(xlabel="probability of the named class", ylabel="rows", yscale="log")
    return _png(figure)


def residuals(truth: Array, said: Array) -> bytes:
    """Answer against truth, and how the misses are spread."""
    figure = _figure(9, 4)
    left, right = figure.subplots(1, 2)
    some = np.random.default_rng(0).permutation(len(truth))[:MOST_POINTS]
    left.scatter(truth[some], said[some], s=6, alpha=0.4, color=TRAIN, linewidths=0)
    ends = [float(min(truth.min(), said.min())), float(max(truth.max(), said.max()))]
    left.plot(ends, ends, color="0.6", linestyle=":")
    left.set(xlabel="true", ylabel="answered", title="held out")
    right.hist(said - truth, bins=50, color=TRAIN)
    right.set(xlabel="answered - true", ylabel="rows")
    return _png(figure)


def search_history(points: Sequence[tuple[int, float, str]], metric: str, *, rising: bool) -> bytes:
    """Each trial's value by its number, coloured by algorithm, with the best so far."""
    figure = _figure(7.4, 4)
    axes = figure.add_subplot()
    for name in sorted({name for _, _, name in points}):
        own = np.array([(number, value) for number, value, other in points if other == name])
        axes.scatter(own[:, 0], own[:, 1], s=18, label=name)
    values = np.array([value for _, value, _ in points])
    so_far = np.maximum.accumulate(values) if rising else np.minimum.accumulate(values)
    axes.step([number for number, _, _ in points], so_far, where="post", color="0.5", label="best so far")
    axes.set(xlabel="trial", ylabel=f"validation {metric}")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    return _png(figure)


def search_parameters(drawn: Mapping[str, Sequence[tuple[float, float]]], metric: str) -> bytes:
    """Value against each number that was varied."""
    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = _figure(3.6 * columns, 2.8 * rows)
    for place, (name, pairs) in enumerate(drawn.items(), start=1):
        axes = figure.add_subplot(rows, columns, place)
        numbers, values = np.array(pairs, dtype=np.float64).T
        axes.scatter(numbers, values, s=12, color=TRAIN)
        if numbers.min() > 0 and numbers.max() > 8 * numbers.min():
            axes.set_xscale("log")
        axes.set(xlabel=name, ylabel=metric)
    return _png(figure)
