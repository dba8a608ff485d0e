"""From parsed JSON to blocks that fit the signature."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any, NoReturn

from .block import Block, Blocks
from .errors import BadRequest
from .fit import packed
from .manifest import Tensor

FORMS = ("instances", "inputs", "dataframe_split", "dataframe_records")
# MLflow, TensorFlow Serving and Vertex AI send these along; they change nothing here.
ALSO = {"params", "signature_name", "parameters"}
LEAVES: dict[str, tuple[tuple[type, ...], str]] = {
    "string": ((str,), "text"), "bool": ((bool,), "true or false"), "number": ((int, float), "a number")}


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


def decode(request: Any, tensors: tuple[Tensor, ...]) -> Blocks:
    """Which blocks does this request hold?

    Takes what MLflow's scoring server and TensorFlow Serving take: ``{"instances": [row, ...]}``,
    ``{"inputs": array or {name: array}}``, ``{"dataframe_split": {"columns", "data"}}``,
    ``{"dataframe_records": [row, ...]}``, or a bare array.

    Raises:
        BadRequest: 400 when no such key is there, 422 when a value does not fit the signature.
    """
    if isinstance(request, list):
        return _rows(request, tensors)
    if not isinstance(request, dict):
        raise BadRequest(f"the body is {kind(request)}; wanted an object with one of {', '.join(FORMS)}")
    held = [form for form in FORMS if form in request]
    if len(held) != 1 or request.keys() - ALSO != set(held):
        found = ", ".join(sorted(str(k)[:60] for k in request)) or "nothing"
        raise BadRequest(f"the body holds {found}; wanted one of {', '.join(FORMS)}")
    value = request[held[0]]
    if held[0] == "inputs":
        return _columns(value, tensors)
    if held[0] == "dataframe_split":
        return _split(value, tensors)
    return _rows(value, tensors)


def of_columns(names: list[str], rows: list[Any], tensors: tuple[Tensor, ...]) -> Blocks:
    """Which blocks are these rows of a table? Columns that the model does not take are left aside.

    Raises:
        BadRequest: 422 for a column that is not there, or a row of another length.
    """
    for index, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != len(names):
            found = len(row) if isinstance(row, list) else kind(row)
            raise BadRequest(f"row {index} has {found} values; wanted {len(names)}, one for each column", status=422)
    if len(tensors) == 1 and len(tensors[0].shape) == 2:
        return {tensors[0].name: block_of(rows, tensors[0])}
    wanted = {t.name for t in tensors}
    if missing := sorted(wanted - set(names)):
        raise BadRequest(f"there is no column {', '.join(missing)}; found {', '.join(map(str, names))[:200]}",
                         status=422)
    if len(set(names)) < len(names):
        raise BadRequest("two columns have the same name", status=422)
    place = {name: i for i, name in enumerate(names)}
    return {t.name: block_of([row[place[t.name]] for row in rows], t) for t in tensors}


def _split(value: Any, tensors: tuple[Tensor, ...]) -> Blocks:
    if not isinstance(value, dict) or not isinstance(value.get("data"), list):
        raise BadRequest("'dataframe_split' is no object with 'columns' and 'data'", status=422)
    names = value.get("columns", [t.name for t in tensors])
    if not isinstance(names, list) or not all(type(n) in (str, int) for n in names):
        raise BadRequest("'columns' is no list of names", status=422)
    return of_columns([str(n) for n in names], value["data"], tensors)


def _rows(rows: Any, tensors: tuple[Tensor, ...]) -> Blocks:
    if not isinstance(rows, list):
        raise BadRequest(f"the rows are {kind(rows)}; wanted an array", status=422)
    if not rows:
        raise BadRequest("there are no rows; wanted at least one", status=422)
    if len(tensors) == 1 and not isinstance(rows[0], dict):
        return {tensors[0].name: block_of(rows, tensors[0])}
    if isinstance(rows[0], list) and all(len(t.shape) == 1 for t in tensors):
        return of_columns([t.name for t in tensors], rows, tensors)
    return {t.name: block_of([_field(row, t, i) for i, row in enumerate(rows)], t) for t in tensors}


def _columns(columns: Any, tensors: tuple[Tensor, ...]) -> Blocks:
    if isinstance(columns, dict):
        wanted = {t.name for t in tensors}
        if columns.keys() != wanted:
            raise BadRequest(f"'inputs' names {sorted(columns)}; wanted {sorted(wanted)}", status=422)
        return {t.name: block_of(columns[t.name], t) for t in tensors}
    if len(tensors) > 1:
        raise BadRequest(f"'inputs' is a bare array; wanted {sorted(t.name for t in tensors)}", status=422)
    return {tensors[0].name: block_of(columns, tensors[0])}


def block_of(rows: Any, tensor: Tensor) -> Block:
    """Which block are these nested lists?

    Raises:
        BadRequest: 422, naming the row, for a wrong shape or type; 400 for a number that JSON cannot hold.
    """
    if not isinstance(rows, list):
        raise BadRequest(f"{tensor.name} is {kind(rows)}; wanted an array", status=422)
    if not rows:
        raise BadRequest(f"{tensor.name} holds no rows; wanted at least one", status=422)
    if tensor.missing and len(tensor.shape) == 1:
        filler: Any = "" if tensor.dtype == "string" else float("nan")
        rows = [filler if value is None else value for value in rows]
    shape, values = _flattened(rows, len(tensor.shape))
    wanted, _ = LEAVES.get(tensor.dtype, LEAVES["number"])
    if not _all_are(values, wanted):
        _refuse_leaves(rows, tensor)
    if not _fits(shape, tensor.shape) or list in set(map(type, values)):
        raise BadRequest(_misfit(rows, tensor), status=422)
    if tensor.dtype == "string":
        return Block("string", shape, values)
    return Block(tensor.dtype, shape, packed(values, len(values) // len(rows), tensor, of_json=True))


def _flattened(rows: list[Any], rank: int) -> tuple[tuple[int, ...], list[Any]]:
    """The shape and the values of nested lists; the shape ends where they are uneven."""
    level, shape = rows, [len(rows)]
    while len(shape) < rank:
        if set(map(type, level)) != {list} or len(widths := set(map(len, level))) > 1:
            break
        shape += widths
        level = list(chain.from_iterable(level))
    return tuple(shape), level


def _refuse_leaves(rows: list[Any], tensor: Tensor) -> None:
    """Say which row holds a value of a wrong type, if one does."""
    wanted, name = LEAVES.get(tensor.dtype, LEAVES["number"])
    for index, row in enumerate(rows):
        for value in _leaves(row):
            if type(value) not in wanted:
                raise BadRequest(f"{tensor.name}, row {index}: found {kind(value)}; wanted {name}", status=422)
            if type(value) is str and not value.isascii() and not _is_text(value):
                raise BadRequest(f"{tensor.name}, row {index}: found half a surrogate pair; wanted text", status=422)


def _leaves(row: Any) -> Iterator[Any]:
    """Every value of a row that is no list, however deep; without recursion, as the depth is the caller's."""
    stack = [row]
    while stack:
        value = stack.pop()
        if type(value) is list:
            stack.extend(value)
        else:
            yield value


def _all_are(values: list[Any], wanted: tuple[type, ...]) -> bool:
    """Is every value of one of these types, and every text ASCII? False also where it takes a closer look to tell."""
    kinds = set(map(type, values))
    return kinds <= set(wanted) and (str not in kinds or all(map(str.isascii, values)))


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _misfit(rows: list[Any], tensor: Tensor) -> str:
    wanted = list(tensor.shape[1:])
    for index, row in enumerate(rows):
        found = _shape(row)
        if not _fits((1, *found), tensor.shape):
            return f"{tensor.name}, row {index}: found shape {list(found)}; wanted {wanted}"
    return f"{tensor.name}: the rows differ in shape; wanted {wanted}"


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
        raise BadRequest(f"row {index} is {kind(row)}; wanted an object with '{tensor.name}'", status=422)
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


def kind(value: Any) -> str:
    """What is this JSON value called in a message?"""
    names = {dict: "an object", list: "an array", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")
