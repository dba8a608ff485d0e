"""Does the converted model answer as the native one does? Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ParityFailed
from .runtime.manifest import Parity

Arrays = dict[str, NDArray[Any]]
TOLERANCE = 1e-4  # float32 sums taken in another order; far below what changes a decision


def compare(native: Arrays, converted: Arrays, *, labels: bool, tolerance: float = TOLERANCE) -> Parity:
    """How far apart are the two models' answers to the same requests?

    Args:
        native, converted: output name -> array of shape (rows, ...); the same names and shapes in both.
        labels: whether the first output holds probabilities, so that the most likely label must agree too.
        tolerance: the largest absolute difference that passes.
    """
    first = next(iter(native))
    rows = len(native[first])
    difference = max(_distance(native[name], converted[name]) for name in native)
    equal = rows
    if labels:
        equal = int((native[first].argmax(-1) == converted[first].argmax(-1)).sum())
    return Parity(rows, equal, difference, tolerance)


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


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    if a.shape != b.shape:
        return float("inf")
    distance = np.abs(a.astype(np.float64) - b.astype(np.float64))
    return float("inf") if np.isnan(distance).any() else float(distance.max(initial=0.0))
