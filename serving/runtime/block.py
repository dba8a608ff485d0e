"""Values of one type in a shape: bytes and a few facts, in place of numpy's arrays.

Importing numpy costs a cold start some 50 ms and the layer 14 MB, and for the few hundred numbers of a usual request
it is slower than what Python has built in.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterable, Sequence
from math import isfinite, prod
from typing import Any

# numpy's name of a type -> the letter that struct, array and memoryview know it by. All are little-endian here, as
# are both of Lambda's machines.
CODES = {"float32": "f", "float64": "d", "float16": "e", "int8": "b", "int16": "h", "int32": "i", "int64": "q",
         "uint8": "B", "uint16": "H", "uint32": "I", "uint64": "Q", "bool": "?"}
SIZES = {dtype: struct.calcsize(code) for dtype, code in CODES.items()}


class Block:
    """Which values, of which type, in which shape?

    Attributes:
        dtype: numpy's name of the type, or ``string``.
        shape: the sizes; the first is the rows.
        data: numbers as bytes in C order; texts as a list.
    """

    __slots__ = ("data", "dtype", "shape")

    def __init__(self, dtype: str, shape: tuple[int, ...], data: bytes | list[str]) -> None:
        self.dtype = dtype
        self.shape = shape
        self.data = data

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        # Whoever asks for this is numpy, so it is there; the runtime itself never imports it.
        numpy: Any = sys.modules["numpy"]
        if isinstance(self.data, list):
            return numpy.array(self.data, dtype or object).reshape(self.shape)
        plain = numpy.frombuffer(self.data, self.dtype).reshape(self.shape)
        return plain if dtype is None else plain.astype(dtype)

    def flat(self) -> Sequence[Any]:
        """The values one after the other."""
        if isinstance(self.data, list):
            return self.data
        if self.dtype == "float16":  # memoryview does not read these before Python 3.12
            return struct.unpack(f"{len(self.data) // 2}e", self.data)
        return memoryview(self.data).cast(CODES[self.dtype])  # type: ignore[call-overload, no-any-return]  # any letter

    def tolist(self) -> list[Any]:
        """The values as nested lists."""
        flat = self.flat()
        if isinstance(flat, memoryview) and 0 not in self.shape and len(self.shape) > 1:
            return memoryview(self.data).cast(CODES[self.dtype], self.shape).tolist()  # type: ignore
        nested = list(flat)
        for axis in range(len(self.shape) - 1, 0, -1):
            size, many = self.shape[axis], prod(self.shape[:axis])
            nested = [nested[i * size : (i + 1) * size] for i in range(many)]
        return nested

    def rows(self, start: int, end: int) -> Block:
        """These rows alone, as far as they are there."""
        start, end = min(start, len(self)), min(end, len(self))
        width = self._width()
        return Block(self.dtype, (end - start, *self.shape[1:]), self.data[start * width : end * width])

    def cut(self, sizes: Iterable[int]) -> list[Block]:
        """The rows in pieces of these sizes, one after the other."""
        shape, data, parts, start, width = self.shape[1:], self.data, [], 0, self._width()
        for size in sizes:
            end = start + size * width
            parts.append(Block(self.dtype, (size, *shape), data[start:end]))
            start = end
        return parts

    def _width(self) -> int:
        """How many places of `data` does a row take?"""
        return prod(self.shape[1:]) * (1 if isinstance(self.data, list) else SIZES[self.dtype])

    def is_finite(self) -> bool:
        """Is no value NaN or infinite?"""
        data = self.data
        if isinstance(data, list) or not self.dtype.startswith("float"):
            return True
        size = SIZES[self.dtype]
        # Of an infinite number or a NaN, the last byte is 0x7f or 0xff: so it is of numbers above 1e38 alone.
        last = data[size - 1 :: size]
        if size > 2 and b"\x7f" not in last and b"\xff" not in last:
            return True
        return all(map(isfinite, self.flat()))

    @classmethod
    def of(cls, values: Any) -> Block:
        """The values of a numpy array, or of anything that calls its parts the same."""
        if isinstance(values, Block):
            return values
        if values.dtype.kind in "OU":
            return cls("string", values.shape, [str(v) for v in values.reshape(-1).tolist()])
        return cls(str(values.dtype.newbyteorder("<")), values.shape, values.tobytes())


Blocks = dict[str, Block]


def joined(blocks: Iterable[Block]) -> Block:
    """The rows of all of them, one block after the other. They must agree in type and in width."""
    parts = list(blocks)
    shape = (sum(len(part) for part in parts), *parts[0].shape[1:])
    if isinstance(parts[0].data, list):
        return Block("string", shape, [value for part in parts for value in part.data])  # type: ignore[misc]  # all text
    return Block(parts[0].dtype, shape, b"".join([part.data for part in parts]))  # type: ignore[misc]  # all bytes
