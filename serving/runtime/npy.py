"""NumPy's own file format, in and out: the fastest way for numbers. Never unpickles."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import BadRequest

MAGIC = b"\x93NUMPY"
HEADER = 4096  # more than any array of numbers needs


def load(body: bytes) -> NDArray[Any]:
    """Which array of numbers is this?

    Raises:
        BadRequest: 400 when it is no npy file, is cut off, or holds objects.
    """
    if len(body) < 12 or body[:6] != MAGIC or body[6] not in (1, 2, 3):
        raise BadRequest("the body is no npy file")
    wide = 2 if body[6] == 1 else 4
    start = 8 + wide
    end = start + int.from_bytes(body[8:start], "little")
    if end > min(len(body), HEADER):
        raise BadRequest("the npy file's header is cut off or too long")
    dtype, shape = _described(body[start:end])
    if len(body) - end != math.prod(shape) * dtype.itemsize:
        raise BadRequest(f"the npy file holds {len(body) - end} bytes; its header promises "
                         f"{math.prod(shape) * dtype.itemsize}")
    return np.frombuffer(body, dtype, offset=end).reshape(shape)


@lru_cache(maxsize=256)
def _described(header: bytes) -> tuple[np.dtype[Any], tuple[int, ...]]:
    import ast

    try:
        said = ast.literal_eval(header.decode("latin1").strip())
        dtype, fortran, shape = np.dtype(said["descr"]), said["fortran_order"], said["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError):
        raise BadRequest("the npy file's header cannot be read") from None
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise BadRequest("the npy file's shape is no tuple of sizes")
    if dtype.kind not in "fiub" or dtype.itemsize > 8 or fortran:
        raise BadRequest(f"the npy file holds {dtype}{' in Fortran order' if fortran else ''}; wanted plain numbers "
                         "in C order")
    return dtype, shape


def dump(array: NDArray[Any]) -> bytes:
    """What is this array as an npy file, version 1.0?"""
    return _header(array.dtype.str, array.shape) + array.tobytes()


@lru_cache(maxsize=256)
def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1")
