"""From CSV to blocks: with a header for columns, with or without one for the numbers of a single input."""

from __future__ import annotations

import csv
import io
import math
from typing import Any

from . import codec
from .block import Block, Blocks
from .errors import BadRequest
from .fit import packed
from .manifest import Tensor

EMPTY = {"", "nan", "na", "null"}


def read_csv(body: bytes, tensors: tuple[Tensor, ...]) -> Blocks:
    """Which blocks does this CSV hold?

    Raises:
        BadRequest: 400 when it is no CSV, 422 naming row and column when a value does not fit.
    """
    rows = _lines(body)
    if not rows:
        raise BadRequest("the CSV holds no rows; wanted at least one", status=422)
    if len(tensors) == 1 and len(tensors[0].shape) > 1:
        return _matrix(rows if _is_numbers(rows[0]) else rows[1:], tensors[0])
    if not rows[1:]:
        raise BadRequest("the CSV holds a header and no rows; wanted at least one", status=422)
    types = {t.name: t for t in tensors}
    names = [name.strip() for name in rows[0]]
    return codec.of_columns(names, [_typed(row, names, types, i) for i, row in enumerate(rows[1:])], tensors)


def _lines(body: bytes) -> list[list[str]]:
    try:
        text = body.decode("utf-8-sig")
        # A NUL can stand in no CSV, and older readers stop at it.
        if "\0" in text:
            raise BadRequest("the CSV holds a NUL character")
        return [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start}") from None
    except csv.Error as error:
        raise BadRequest(f"the body is not CSV: {error}") from None


def _is_numbers(row: list[str]) -> bool:
    return all(_number(value) is not None for value in row)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and "_" not in text else None


def _matrix(rows: list[list[str]], tensor: Tensor) -> Blocks:
    """Each line is one row of the input, flat in C order when the input has more dimensions."""
    inner = [size for size in tensor.shape[1:] if size is not None]
    wide = math.prod(inner)
    if tensor.dtype == "string" or len(inner) < len(tensor.shape) - 1:
        raise BadRequest(f"{tensor.name} cannot be given as CSV; wanted JSON", status=415)
    found: list[Any] = []
    for index, row in enumerate(rows):
        numbers = [_number(value) for value in row]
        if len(row) != wide or None in numbers:
            what = f"{len(row)} values" if len(row) != wide else "a value that is no number"
            raise BadRequest(f"{tensor.name}, row {index}: found {what}; wanted {wide} numbers", status=422)
        found += numbers
    if not rows:
        raise BadRequest("the CSV holds a header and no rows; wanted at least one", status=422)
    return {tensor.name: Block(tensor.dtype, (len(rows), *inner), packed(found, wide, tensor))}


def _typed(row: list[str], names: list[str], types: dict[str, Tensor], index: int) -> list[Any]:
    if len(row) != len(names):
        raise BadRequest(f"row {index} has {len(row)} values; wanted {len(names)}, one for each column", status=422)
    return [_value(text, types[name], index) if name in types else text for text, name in zip(row, names, strict=True)]


def _value(text: str, tensor: Tensor, row: int) -> Any:
    if tensor.dtype == "string":
        return text
    if tensor.dtype == "bool" and text.strip().lower() in ("true", "false"):
        return text.strip().lower() == "true"
    if text.strip().lower() in EMPTY:
        return None
    number = _number(text)
    if number is not None and len(text) < 20 and text.strip().lstrip("+-").isdecimal():
        return int(text)  # of more digits than a float holds
    if number is None:
        raise BadRequest(f"{tensor.name}, row {row}: found {text[:60]!r}; wanted a number", status=422)
    return number
