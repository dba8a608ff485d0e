"""From the body of a request to arrays that fit the signature, and from answers back to a body."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from .errors import BadRequest
from .manifest import Manifest, Tensor

Arrays = dict[str, NDArray[Any]]


def parse_json(body: bytes) -> Any:
    """What does this JSON say?

    Raises:
        BadRequest: 400 for anything that RFC 8259 does not allow, NaN and Infinity among it.
    """
    try:
        return json.loads(body.decode("utf-8"), parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise BadRequest("the body is nested too deeply") from None
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from None


def decode(request: Any, manifest: Manifest) -> Arrays:
    """Which arrays does this request hold?

    Takes what MLflow's scoring server and TensorFlow Serving take: ``{"instances": [row, ...]}``,
    ``{"inputs": array or {name: array}}``, or a bare array.

    Raises:
        BadRequest: 400 when no such key is there, 422 when a value does not fit the signature.
    """
    if isinstance(request, list):
        return _rows(request, manifest)
    if not isinstance(request, dict):
        raise BadRequest(f"the body is a {_kind(request)}; wanted an object with 'instances' or 'inputs'")
    if "instances" in request:
        return _rows(request["instances"], manifest)
    if "inputs" in request:
        return _columns(request["inputs"], manifest)
    found = ", ".join(sorted(map(str, request))) or "nothing"
    raise BadRequest(f"the body holds {found}; wanted 'instances' or 'inputs'")


def encode(outputs: Arrays, manifest: Manifest) -> dict[str, Any]:
    """What is the answer, ready for JSON: predictions, their labels, and who gave them?"""
    first = manifest.outputs[0].name
    predictions: Any = outputs[first].tolist() if len(outputs) == 1 else {k: v.tolist() for k, v in outputs.items()}
    answer: dict[str, Any] = {"predictions": predictions}
    if manifest.labels:
        answer["labels"] = [manifest.labels[i] for i in outputs[first].argmax(axis=-1)]
    answer["model"] = {"name": manifest.name, "version": manifest.version, "digest": manifest.digest}
    return answer


def _rows(rows: Any, manifest: Manifest) -> Arrays:
    if not isinstance(rows, list) or not rows:
        raise BadRequest("'instances' holds no rows; wanted at least one", status=422)
    if len(manifest.inputs) == 1 and not isinstance(rows[0], Mapping):
        return {manifest.inputs[0].name: _array(rows, manifest.inputs[0])}
    return {t.name: _array([_field(row, t, i) for i, row in enumerate(rows)], t) for t in manifest.inputs}


def _columns(columns: Any, manifest: Manifest) -> Arrays:
    if isinstance(columns, Mapping):
        wanted = {t.name for t in manifest.inputs}
        if columns.keys() != wanted:
            raise BadRequest(f"'inputs' names {sorted(columns)}; wanted {sorted(wanted)}", status=422)
        arrays = {t.name: _array(columns[t.name], t) for t in manifest.inputs}
        if len({len(a) for a in arrays.values()}) > 1:
            raise BadRequest("the inputs differ in their number of rows", status=422)
        return arrays
    if len(manifest.inputs) > 1:
        raise BadRequest(f"'inputs' is a bare array; wanted {sorted(t.name for t in manifest.inputs)}", status=422)
    return {manifest.inputs[0].name: _array(columns, manifest.inputs[0])}


def _array(rows: Any, tensor: Tensor) -> NDArray[Any]:
    if not isinstance(rows, Sequence) or isinstance(rows, str) or not rows:
        raise BadRequest(f"{tensor.name} holds no rows; wanted at least one", status=422)
    _refuse_wrong_leaves(rows, tensor)
    try:
        array = np.asarray(rows, dtype=object if tensor.dtype == "object" else np.float64)
    except (ValueError, OverflowError, TypeError):
        raise BadRequest(_misfit(rows, tensor), status=422) from None
    if array.shape[1:] != tensor.shape[1:] and not _fits(array.shape, tensor.shape):
        raise BadRequest(_misfit(rows, tensor), status=422)
    return _narrow(array, tensor)


def _narrow(array: NDArray[Any], tensor: Tensor) -> NDArray[Any]:
    if tensor.dtype == "object":
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = array.astype(tensor.dtype)
    lossy = narrow.dtype.kind in "iu" and not np.array_equal(narrow, array)
    if lossy or not np.isfinite(narrow).all():
        row = int(np.argwhere((narrow != array) | ~np.isfinite(narrow))[0][0])
        raise BadRequest(f"{tensor.name}, row {row}: a number does not fit {tensor.dtype}", status=422)
    return narrow


def _refuse_wrong_leaves(rows: Any, tensor: Tensor) -> None:
    wanted: tuple[type, ...] = (str,) if tensor.dtype == "object" else (int, float)
    for index, row in enumerate(rows):
        stack = [row]
        while stack:
            value = stack.pop()
            if type(value) is list:
                stack.extend(value)
            elif type(value) not in wanted:
                name = "text" if wanted == (str,) else "a number"
                raise BadRequest(f"{tensor.name}, row {index}: found {_kind(value)}; wanted {name}", status=422)


def _misfit(rows: Any, tensor: Tensor) -> str:
    wanted = tensor.shape[1:]
    for index, row in enumerate(rows):
        found = _shape(row)
        if not _fits((1, *found), tensor.shape):
            return f"{tensor.name}, row {index}: found shape {list(found)}; wanted {list(wanted)}"
    return f"{tensor.name}: the rows differ in shape; wanted {list(wanted)}"


def _shape(value: Any) -> tuple[int, ...]:
    shape = []
    while isinstance(value, list):
        shape.append(len(value))
        value = value[0] if value else None
    return tuple(shape)


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(w is None or f == w for f, w in zip(found, wanted, strict=True))


def _field(row: Any, tensor: Tensor, index: int) -> Any:
    if not isinstance(row, Mapping):
        raise BadRequest(f"row {index} is {_kind(row)}; wanted an object with '{tensor.name}'", status=422)
    if tensor.name not in row:
        raise BadRequest(f"row {index} has no '{tensor.name}'", status=422)
    return row[tensor.name]


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON number")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
