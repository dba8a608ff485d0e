"""NumPy's own file format, in and out: the fastest way for numbers. Never unpickles, and needs no numpy."""

from __future__ import annotations

from array import array
from functools import lru_cache
from math import prod
from typing import NamedTuple

from .block import CODES, SIZES, Block
from .errors import BadRequest

MAGIC = b"\x93NUMPY"
HEADER = 4096  # more than any array of numbers needs
KINDS = {f"{'fiub'[place]}{SIZES[name]}": name for name in CODES
         for place, kind in enumerate(("float", "int", "uint", "bool")) if name.startswith(kind)}
STORED = {name: f"{'|' if SIZES[name] == 1 else '<'}{kind}" for kind, name in KINDS.items()}


class Described(NamedTuple):
    """What does a header say? Bytes of one value, and their order, among it."""

    dtype: str
    size: int
    swapped: bool
    shape: tuple[int, ...]


def load(body: bytes, *, texts: bool = False) -> Block:
    """Which numbers are these?

    Args:
        body: a whole file.
        texts: whether it may hold texts as well, as golden requests do.

    Raises:
        BadRequest: 400 when it is no npy file, is cut off, or holds objects.
    """
    if len(body) < 12 or body[:6] != MAGIC or body[6] not in (1, 2, 3):
        raise BadRequest("the body is no npy file")
    start = 10 if body[6] == 1 else 12
    end = start + int.from_bytes(body[8:start], "little")
    if end > min(len(body), HEADER):
        raise BadRequest("the npy file's header is cut off or too long")
    said = _described(body[start:end])
    data = body[end:]
    if len(data) != prod(said.shape) * said.size:
        raise BadRequest(f"the npy file holds {len(data)} bytes; its header promises {prod(said.shape) * said.size}")
    if said.dtype == "string":
        if not texts:
            raise BadRequest("the npy file holds texts; wanted plain numbers in C order")
        return Block("string", said.shape, _texts(data, said.size, said.swapped))
    if said.swapped:
        turned = array({2: "H", 4: "I", 8: "Q"}[said.size], data)
        turned.byteswap()
        data = turned.tobytes()
    return Block(said.dtype, said.shape, data)


def holds(body: bytes, dtype: str) -> bool:
    """Are the bytes after the head of this file, which `load` has read, numbers of this type as they stand?"""
    said = _described(body[10 : 10 + int.from_bytes(body[8:10], "little")]) if body[6] == 1 else None
    return said is not None and said.dtype == dtype and not said.swapped


@lru_cache(maxsize=256)
def _described(header: bytes) -> Described:
    import ast
    import warnings

    try:
        with warnings.catch_warnings(action="ignore"):  # Python's advice on odd literals would fill the log
            said = ast.literal_eval(header.decode("latin1").strip())
        kind, fortran, shape = said["descr"], said["fortran_order"], said["shape"]
    except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError):
        raise BadRequest("the npy file's header cannot be read") from None
    if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**40 for n in shape):
        raise BadRequest("the npy file's shape is no tuple of sizes")
    if isinstance(kind, str) and kind[1:2] == "U" and kind[2:].isdecimal() and len(kind) < 9 and not fortran:
        return Described("string", 4 * int(kind[2:]), kind[0] == ">", shape)
    dtype = KINDS.get(kind.lstrip("<>|=")) if isinstance(kind, str) and len(kind) <= 3 else None
    if dtype is None or fortran:
        raise BadRequest(f"the npy file holds {str(kind)[:60]}{' in Fortran order' if fortran else ''}; wanted plain "
                         "numbers in C order")
    return Described(dtype, SIZES[dtype], kind[0] == ">" and SIZES[dtype] > 1, shape)


def _texts(data: bytes, size: int, swapped: bool) -> list[str]:
    text = data.decode("utf-32-be" if swapped else "utf-32-le", "surrogatepass")
    wide = size // 4
    return [text[i : i + wide].rstrip("\0") for i in range(0, len(text), wide)] if wide else []


def dump(block: Block) -> bytes:
    """What is this block of numbers as an npy file, version 1.0?"""
    return _header(block.dtype, block.shape) + bytes(block.data)  # type: ignore[arg-type]  # numbers are bytes


@lru_cache(maxsize=256)
def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    text = f"{{'descr': {STORED[dtype]!r}, 'fortran_order': False, 'shape': {shape!r}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return MAGIC + b"\x01\x00" + len(text).to_bytes(2, "little") + text.encode("latin1")


def rows_of(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    """Does a shape fit one that leaves some sizes open? The rows may be any."""
    return len(shape) == len(wanted) and all(
        w is None or f == w for f, w in zip(shape[1:], wanted[1:], strict=True))
