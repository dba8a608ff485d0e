"""Do these blocks fit the signature? Every reader of bodies ends here."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import compress
from math import isinf, isnan
from struct import error as StructError
from struct import pack
from typing import Any

from .block import CODES, Block, Blocks
from .errors import BadRequest, ModelFault, RuntimeFault
from .manifest import Tensor

SHOWN = 5  # of the known categories, in a message


def packed(values: Sequence[Any], width: int, tensor: Tensor, *, of_json: bool = False) -> bytes:
    """The same numbers as bytes of the type that the model takes.

    Args:
        values: numbers of any type, or bools where the model takes bools.
        width: how many of them make a row.
        tensor: what the model takes.
        of_json: whether infinity can only have come of a number that JSON should not hold, such as 1e999.

    Raises:
        BadRequest: 422, naming the row: a number does not fit the type, or is missing where none may be.
    """
    dtype = tensor.dtype
    try:
        if dtype == "float16":
            data = pack(f"<{len(values)}e", *values)
        else:
            data = array("B" if dtype == "bool" else CODES[dtype], values).tobytes()
        if Block(dtype, (len(values),), data).is_finite():
            return data
    except (TypeError, OverflowError, StructError):
        pass
    return _packed_one_by_one(values, width, tensor, of_json)


def _packed_one_by_one(values: Sequence[Any], width: int, tensor: Tensor, of_json: bool) -> bytes:
    parts = []
    for index, value in enumerate(values):
        row = index // (width or 1)
        if of_json and isinstance(value, float) and isinf(value):
            raise BadRequest(f"{tensor.name}, row {row}: a number is too large")
        try:
            parts.append(_packed(value, tensor))
        except (OverflowError, StructError):
            found = "is missing or not a number" if value != value else f"does not fit {tensor.dtype}"
            raise BadRequest(f"{tensor.name}, row {row}: a number {found}", status=422) from None
    return b"".join(parts)


def _packed(value: Any, tensor: Tensor) -> bytes:
    if tensor.dtype.startswith("float"):
        if isinf(value) or (isnan(value) and not tensor.missing):
            raise OverflowError
    elif isinstance(value, float) and value.is_integer():
        value = int(value)
    return pack("<" + CODES[tensor.dtype], value)  # only in a stated order does pack refuse what a float32 cannot hold


def refit(block: Block, tensor: Tensor) -> Block:
    """The same numbers as a block of the type that the model takes.

    Raises:
        BadRequest: 422, as `packed`, or because numbers cannot stand for bools.
    """
    if block.dtype == tensor.dtype and block.is_finite():
        return block
    if (block.dtype == "bool") != (tensor.dtype == "bool"):
        raise BadRequest(f"{tensor.name} holds {block.dtype}; wanted {tensor.dtype}", status=422)
    values = block.flat()
    return Block(tensor.dtype, block.shape, packed(values, len(values) // (len(block) or 1), tensor))


class Contract:
    """What a signature demands of a request, with its sets made once.

    Args:
        tensors: the model's inputs.
        most_rows: rows of one request.

    Attributes:
        any_values: whether nothing is demanded of single values.
    """

    def __init__(self, tensors: tuple[Tensor, ...], most_rows: int) -> None:
        self._most = most_rows
        self._bounded = [t for t in tensors if t.bounds]
        self._closed = [(t, frozenset(t.known) | _blank(t)) for t in tensors if t.closed]
        self._open = [(t.name, frozenset((*t.known, ""))) for t in tensors if t.known and not t.closed]
        self._present = [t for t in tensors
                         if t.dtype == "string" and not t.missing and not t.closed and t.known and len(t.shape) == 1]
        self.any_values = not (self._bounded or self._closed or self._present)

    def check(self, blocks: Blocks) -> Blocks:
        """The blocks, once their rows, bounds and closed categories are seen to be right.

        Raises:
            BadRequest: 413 for too many rows, 422 for anything that the model would not take.
        """
        sizes = [block.shape[0] for block in blocks.values()]
        rows = sizes[0]
        if len(sizes) > 1 and set(sizes) != {rows}:
            raise BadRequest("the inputs differ in their number of rows", status=422)
        if not rows:
            raise BadRequest("there are no rows; wanted at least one", status=422)
        if rows > self._most:
            raise BadRequest(f"{rows} rows; at most {self._most} are taken at once", status=413)
        for tensor in self._bounded:
            _within(blocks[tensor.name], tensor)
        for tensor, known in self._closed:
            _of(blocks[tensor.name], tensor, known)
        for tensor in self._present:
            if "" in (texts := blocks[tensor.name].flat()):
                raise BadRequest(f"{tensor.name}, row {texts.index('')}: is empty; wanted text", status=422)
        return blocks

    def unknown(self, blocks: Blocks) -> list[dict[str, Any]]:
        """Which values did the model never see, so that its fallback answers?"""
        found = []
        for name, known in self._open:
            if not known.issuperset(values := blocks[name].flat()):
                found += [{"row": row, "input": name, "value": clipped(value)}
                          for row, value in enumerate(values) if value not in known]
        return found


def _blank(tensor: Tensor) -> set[Any]:
    return {""} if tensor.missing and tensor.dtype == "string" else set()


def _within(block: Block, tensor: Tensor) -> None:
    low, high = tensor.bounds or (0, 0)
    values = block.flat()
    wrong = [value < low or value > high for value in values]
    if any(wrong):
        row = wrong.index(True) // (len(values) // len(block))
        raise BadRequest(f"{tensor.name}, row {row}: {next(compress(values, wrong))} is not known to the model; wanted "
                         f"{low} to {high}", status=422)


def _of(block: Block, tensor: Tensor, known: frozenset[Any]) -> None:
    for row, value in enumerate(block.flat()):
        if value not in known:
            shown = ", ".join(map(str, tensor.known[:SHOWN])) + (", ..." if len(tensor.known) > SHOWN else "")
            raise BadRequest(f"{tensor.name}, row {row}: {clipped(value)} is not known to the model; wanted one of "
                             f"{shown}", status=422)


def not_finite(output: str, ready: Blocks, tensors: tuple[Tensor, ...]) -> RuntimeFault:
    """Whose fault is an answer that is NaN or infinite?

    The model answered its golden request when it was loaded, so it can. Where a number lies beyond those it was tried
    on, it is that number's; elsewhere it is the model's.
    """
    for tensor in tensors:
        if tensor.seen is None or tensor.bounds:
            continue
        low, high = tensor.seen
        block = ready[tensor.name]
        values = block.flat()
        for place, value in enumerate(values):
            if value < low or value > high:
                return BadRequest(
                    f"{output}: the model's answer is not a finite number, and {tensor.name}, row "
                    f"{place // (len(values) // len(block))}, holds {value:g}; it was tried on {low:g} to {high:g}",
                    status=422)
    return ModelFault(f"the model answered {output} with a value that is not finite")


def clipped(value: Any) -> Any:
    """A value short enough to be shown in an answer."""
    return f"{value[:60]}..." if isinstance(value, str) and len(value) > 60 else value
