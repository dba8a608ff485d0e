"""What a check found, drawn: each function takes the arrays of a check and gives one PNG. No files, no network."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from registry.answers import Answers, Classes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

BINS = 10
SHOWN = ("accuracy", "recall_macro", "recall_lowest", "mae", "rmse", "r2")
INK, SOFT = "#0e538b", "#be501e"  # candidate, champion: apart for the colour-blind too, and by their marks


def drawn(sides: Mapping[str, Answers], truth: NDArray[Any]) -> Iterator[tuple[str, bytes]]:
    """Name and PNG of every figure that these answers allow.

    Args:
        sides: who answers -> the answers, the candidate first, then the champion where there is one.
        truth: of each row, the class index or the number.
    """
    yield "beside.png", beside(sides, truth)
    classes = {who: said for who, said in sides.items() if isinstance(said, Classes)}
    if not classes:
        return
    yield "confusion.png", confusion(classes, truth.astype(np.int64))
    sure = {who: said for who, said in classes.items() if said.probabilities is not None}
    if sure:
        yield "precision_recall.png", precision_recall(sure, truth.astype(np.int64))
        yield "calibration.png", calibration(sure, truth.astype(np.int64))


def beside(sides: Mapping[str, Answers], truth: NDArray[Any]) -> bytes:
    """Each measure of each side with its 95 % interval."""
    found = {who: {name: value for name, value in said.measures(truth).items() if name in SHOWN}
             for who, said in sides.items()}
    names = [name for name in SHOWN if any(name in one for one in found.values())]
    figure, axes = _canvas(1, height=0.6 + 0.6 * len(names))
    for number, ((who, said), colour, mark) in enumerate(zip(sides.items(), (INK, SOFT), "os", strict=False)):
        sure = said.intervals(truth)
        for row, name in enumerate(names):
            at = row + 0.2 * (number - (len(sides) - 1) / 2)
            axes[0].plot(sure[name], (at, at), color=colour, lw=2, solid_capstyle="butt")
            axes[0].plot(found[who][name], at, mark, color=colour, label=who if row == 0 else None)
    axes[0].set_yticks(range(len(names)), names)
    axes[0].set_ylim(len(names) - 0.5, -0.5)
    axes[0].set_title("on the held-out rows, with 95 % intervals", loc="left", fontsize=10)
    axes[0].legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    return _png(figure)


def confusion(sides: Mapping[str, Classes], truth: NDArray[np.int64]) -> bytes:
    """How often each class is taken for each other, a square for each side; a row sums to its class."""
    figure, axes = _canvas(len(sides), height=4.2)
    for ax, (who, said) in zip(axes, sides.items(), strict=True):
        size = len(said.labels)
        counts = np.bincount(truth * size + said.said, minlength=size * size).reshape(size, size)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        if size <= 12:
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    dark = shares[row, column] > 0.5
                    ax.text(column, row, str(count), ha="center", va="center", fontsize=7, color="w" if dark else "k")
            ax.set_xticks(range(size), said.labels, rotation=90 if max(map(len, said.labels)) > 2 else 0)
            ax.set_yticks(range(size), said.labels)
        ax.set(xlabel="answered", ylabel="true")
        ax.set_title(who, loc="left", fontsize=10)
    return _png(figure)


def precision_recall(sides: Mapping[str, Classes], truth: NDArray[np.int64]) -> bytes:
    """Precision over recall; with more than two classes every row and class is one question (micro average)."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    figure, axes = _canvas(1, height=4.0)
    for (who, said), colour, line in zip(sides.items(), (INK, SOFT), ("-", "--"), strict=False):
        assert said.probabilities is not None  # noqa: S101 - drawn() leaves out those who tell none
        right, score = _questions(said.probabilities, truth)
        precision, recall, _ = precision_recall_curve(right, score)
        area = average_precision_score(right, score)
        axes[0].plot(recall, precision, line, color=colour, label=f"{who}, average precision {area:.3f}")
    axes[0].set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axes[0].legend(frameon=False, loc="lower left")
    return _png(figure)


def calibration(sides: Mapping[str, Classes], truth: NDArray[np.int64]) -> bytes:
    """How often the answer is right, by how sure the model is: on the diagonal it means what it says."""
    figure, axes = _canvas(1, height=4.0)
    axes[0].plot((0, 1), (0, 1), color="#92a4b3", lw=1)
    for (who, said), colour, mark in zip(sides.items(), (INK, SOFT), ("o-", "s--"), strict=False):
        assert said.probabilities is not None  # noqa: S101 - as above
        sure, right = said.probabilities.max(1), said.said == truth
        bins = np.minimum((sure * BINS).astype(int), BINS - 1)
        full = [b for b in range(BINS) if (bins == b).any()]
        axes[0].plot([sure[bins == b].mean() for b in full], [right[bins == b].mean() for b in full], mark,
                     color=colour, label=who)
    axes[0].set(xlabel="how sure the model is", ylabel="share of right answers", xlim=(0, 1.02), ylim=(0, 1.02))
    axes[0].legend(frameon=False, loc="lower right")
    return _png(figure)


def _questions(probabilities: NDArray[Any], truth: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[Any]]:
    if probabilities.shape[1] == 2:
        return truth == 1, probabilities[:, 1]
    return (np.arange(probabilities.shape[1]) == truth[:, None]).ravel(), probabilities.ravel()


def _canvas(columns: int, *, height: float) -> tuple[Any, list[Axes]]:
    from matplotlib.figure import Figure  # not pyplot: no window, no global state

    figure = Figure(figsize=(6.4 if columns == 1 else 4.6 * columns, height), layout="constrained", dpi=110)
    axes = list(np.atleast_1d(figure.subplots(1, columns)))
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _png(figure: Any) -> bytes:
    body = io.BytesIO()
    figure.savefig(body, format="png", metadata={"Software": None})
    return body.getvalue()
