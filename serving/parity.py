"""Does the converted model answer as the native one does? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .convert.words import Arrays
from .errors import ParityFailed
from .runtime.manifest import Parity

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# For each type of answer. Sums of float32 taken in another order differ by some 1e-6; far below what changes a
# decision. Above 1 the difference is taken relative to the value, as a number may be as large as it likes.
TOLERANCES = {"probabilities": 1e-4, "numbers": 1e-4, "labels": 0.0}
TOLERANCE = TOLERANCES["probabilities"]
RECORDED = (0.0, 1e-6, 1e-5, 1e-4)


def compare(native: Arrays, converted: Arrays, *, labels: bool, tolerance: float = TOLERANCE) -> Parity:
    """How far apart are the two models' answers to the same requests?

    Args:
        native, converted: output name -> array of shape (rows, ...); the same names and shapes in both.
        labels: whether the first output holds probabilities, so that the most likely label must agree too. Rows whose
            two likeliest labels are closer than the tolerance agree with either.
        tolerance: the largest difference that passes.
    """
    first = next(iter(native))
    rows = len(native[first])
    difference = max(_distance(native[name], converted[name]) for name in native)
    equal = rows
    if labels and native[first].shape == converted[first].shape and native[first].ndim > 1:
        equal = int(_same_label(native[first], converted[first], tolerance).sum())
    return Parity(rows, equal, difference, tolerance)


def recorded(golden: Parity, edges: Parity) -> Parity:
    """What is written down of golden and awkward requests together?

    The native framework sums with as many threads as it likes, so that the last digits of a difference change from
    day to day: what is recorded is the power of ten that no difference exceeds.
    """
    return golden._replace(
        max_abs_diff=_at_most(golden.max_abs_diff), edge_rows=edges.rows, edge_labels_equal=edges.labels_equal,
        edge_max_abs_diff=_at_most(edges.max_abs_diff))


def _at_most(difference: float) -> float:
    return next((step for step in RECORDED if difference <= step), difference)


def require(parity: Parity, *, what: str) -> Parity:
    """Is this parity good enough to serve?

    Raises:
        ParityFailed: a label differs, or an output by more than the tolerance.
    """
    if parity.labels_equal == parity.rows and parity.max_abs_diff <= parity.tolerance:
        return parity
    raise ParityFailed(
        f"{what} answers differently: {parity.rows - parity.labels_equal} of {parity.rows} labels, "
        f"largest difference {parity.max_abs_diff:.2g} > {parity.tolerance:.0e}. Nothing was shipped."
    )


def _same_label(a: NDArray[Any], b: NDArray[Any], tolerance: float) -> NDArray[np.bool_]:
    import numpy as np

    chosen = np.take_along_axis(a, b.argmax(-1)[..., None], axis=-1)[..., 0]
    same = np.asarray(a.max(-1) - chosen <= 2 * tolerance)
    return np.asarray(same.reshape(len(a), -1).all(axis=1))


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    import numpy as np

    if a.shape != b.shape:
        return float("inf")
    if "O" in a.dtype.kind + b.dtype.kind or "U" in a.dtype.kind + b.dtype.kind:
        return 0.0 if (a == b).all() else float("inf")
    wide = a.astype(np.float64)
    distance = np.abs(wide - b.astype(np.float64)) / np.maximum(1.0, np.abs(wide))
    return float("inf") if np.isnan(distance).any() else float(distance.max(initial=0.0))
