"""Do these arrays fit the signature? Every reader of bodies ends here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadRequest
from .manifest import Tensor

Arrays = dict[str, NDArray[Any]]
SHOWN = 5  # of the known categories, in a message


def narrow(array: NDArray[Any], tensor: Tensor, *, of_json: bool = False) -> NDArray[Any]:
    """The same numbers as the type that the model takes.

    Args:
        array: numbers of any type.
        tensor: what the model takes.
        of_json: whether infinity can only have come of a number that JSON should not hold, such as 1e999.

    Raises:
        BadRequest: 422, naming the row: a number does not fit the type, or is missing where none may be.
    """
    if array.dtype == tensor.dtype and array.dtype.kind in "iub":
        return array
    if tensor.dtype in ("float32", "float64") and array.dtype.kind in "fiu":
        with np.errstate(over="ignore"):
            plain = array.astype(tensor.dtype, copy=False)
        if np.isfinite(plain).all():
            return plain
    if of_json and array.dtype.kind == "f" and np.isinf(array).any():
        raise BadRequest(f"{tensor.name}, row {int(np.argwhere(np.isinf(array))[0][0])}: a number is too large")
    if array.dtype.kind not in "fiub" or (tensor.dtype == "bool") != (array.dtype.kind == "b"):
        raise BadRequest(f"{tensor.name} holds {array.dtype}; wanted {tensor.dtype}", status=422)
    with np.errstate(over="ignore", invalid="ignore"):
        changed = array.astype(tensor.dtype, copy=False)
    wrong = _misfits(array, changed, tensor)
    if wrong.any():
        row = int(np.argwhere(wrong)[0][0])
        found = "is missing or not a number" if np.isnan(array[wrong][0]) else f"does not fit {tensor.dtype}"
        raise BadRequest(f"{tensor.name}, row {row}: a number {found}", status=422)
    return changed


def _misfits(array: NDArray[Any], changed: NDArray[Any], tensor: Tensor) -> NDArray[np.bool_]:
    if changed.dtype.kind in "iu":
        return np.asarray((changed != array) | (np.abs(array.astype(np.float64)) >= 2.0**63))
    finite = np.isfinite(changed)
    if tensor.missing and not finite.all():
        return np.asarray(~finite & ~np.isnan(array))
    return np.asarray(~finite)


def check(arrays: Arrays, tensors: tuple[Tensor, ...], most_rows: int) -> Arrays:
    """The arrays, once their rows, bounds and closed categories are seen to be right.

    Raises:
        BadRequest: 413 for too many rows, 422 for anything that the model would not take.
    """
    rows = {len(array) for array in arrays.values()}
    if len(rows) > 1:
        raise BadRequest("the inputs differ in their number of rows", status=422)
    if rows == {0}:
        raise BadRequest("there are no rows; wanted at least one", status=422)
    if max(rows) > most_rows:
        raise BadRequest(f"{max(rows)} rows; at most {most_rows} are taken at once", status=413)
    for tensor in tensors:
        if tensor.bounds:
            _within(arrays[tensor.name], tensor, tensor.bounds)
        if tensor.closed:
            _closed(arrays[tensor.name], tensor)
        elif tensor.dtype == "string" and not tensor.missing:
            _present(arrays[tensor.name], tensor)
    return arrays


def _within(array: NDArray[Any], tensor: Tensor, bounds: tuple[int, int]) -> None:
    wrong = (array < bounds[0]) | (array > bounds[1])
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise BadRequest(f"{tensor.name}, row {place[0]}: {array[place]} is not known to the model; wanted "
                         f"{bounds[0]} to {bounds[1]}", status=422)


def _closed(array: NDArray[Any], tensor: Tensor) -> None:
    known = set(tensor.known) | ({""} if tensor.missing and tensor.dtype == "string" else set())
    for row, value in enumerate(array.tolist()):
        if value not in known:
            shown = ", ".join(map(str, tensor.known[:SHOWN])) + (", ..." if len(tensor.known) > SHOWN else "")
            raise BadRequest(f"{tensor.name}, row {row}: {clipped(value)} is not known to the model; wanted one of "
                             f"{shown}", status=422)


def _present(array: NDArray[Any], tensor: Tensor) -> None:
    if array.ndim == 1 and tensor.known and "" in array:
        raise BadRequest(f"{tensor.name}, row {array.tolist().index('')}: is empty; wanted text", status=422)


def unknown(arrays: Arrays, tensors: Iterable[Tensor]) -> list[dict[str, Any]]:
    """Which values did the model never see, so that its fallback answers?"""
    found = []
    for tensor in tensors:
        if tensor.known and not tensor.closed:
            known = set(tensor.known)
            found += [{"row": row, "input": tensor.name, "value": clipped(value)}
                      for row, value in enumerate(arrays[tensor.name].tolist()) if value not in known and value != ""]
    return found


def clipped(value: Any) -> Any:
    """A value short enough to be shown in an answer."""
    return f"{value[:60]}..." if isinstance(value, str) and len(value) > 60 else value
