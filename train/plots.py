"""Pictures of a run, each returned as PNG bytes; nothing is shown and no global state is used."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from .words import Array, Metrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TRAIN, VALIDATION = "#3b6ea8", "#c8553d"


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
            axes.text(column, row, f"{count}", ha="center", va="center", color=colour, fontsize=8)
    ticks = np.arange(len(labels))
    long_names = max(map(len, labels)) > 3
    axes.set_xticks(ticks, labels, rotation=45 if long_names else 0, ha="right" if long_names else "center")
    axes.set_yticks(ticks, labels)
    axes.set(xlabel="answered", ylabel="true", title="held out")
    return _png(figure)
