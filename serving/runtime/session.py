"""onnxruntime by its C interface: no extension module, which would need numpy and one Python version.

The interface is a table of functions that only ever grows at its end (onnxruntime_c_api.h, `struct OrtApi`), so that
the places below hold for every release from 1.16 on.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterable, Mapping
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p, string_at
from math import prod
from pathlib import Path
from typing import Any

from .block import SIZES, Block

VERSION = 16  # of the table
ERRORS = 3  # the log's level
# ONNXTensorElementDataType, of what a model's inputs and outputs may be
TYPES = {"float32": 1, "uint8": 2, "int8": 3, "uint16": 4, "int16": 5, "int32": 6, "int64": 7, "string": 8, "bool": 9,
         "float16": 10, "float64": 11, "uint32": 12, "uint64": 13}
MOST_PS = 16  # of one output
NAMES = {number: name for name, number in TYPES.items()}
_P = c_void_p  # of a pointer, too: ctypes checks this type fastest
# name -> place in the table, arguments. All of these answer with a status: nothing where all is well.
TABLE: dict[str, tuple[int, tuple[Any, ...]]] = {
    "CreateEnv": (3, (c_int, c_char_p, _P)),
    "CreateSession": (7, (c_void_p, c_char_p, c_void_p, _P)),
    "Run": (9, (c_void_p, c_void_p, c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_void_p)),
    "CreateSessionOptions": (10, (_P,)),
    "SetSessionGraphOptimizationLevel": (23, (c_void_p, c_int)),
    "SetIntraOpNumThreads": (24, (c_void_p, c_int)),
    "SetInterOpNumThreads": (25, (c_void_p, c_int)),
    "CreateTensorAsOrtValue": (48, (c_void_p, c_void_p, c_size_t, c_int, _P)),
    "CreateTensorWithDataAsOrtValue": (49, (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t, c_int, _P)),
    "GetTensorMutableData": (51, (c_void_p, _P)),
    "GetStringTensorDataLength": (53, (c_void_p, _P)),
    "GetStringTensorContent": (54, (c_void_p, c_void_p, c_size_t, c_void_p, c_size_t)),
    "GetTensorElementType": (60, (c_void_p, _P)),
    "GetDimensionsCount": (61, (c_void_p, _P)),
    "GetDimensions": (62, (c_void_p, c_void_p, c_size_t)),
    "GetTensorTypeAndShape": (65, (c_void_p, _P)),
    "CreateCpuMemoryInfo": (69, (c_int, c_int, _P)),
    "GetAllocatorWithDefaultOptions": (78, (_P,)),
    "GetResizedStringTensorElementBuffer": (252, (c_void_p, c_size_t, c_size_t, _P)),
}


class SessionFailed(Exception):
    """What does onnxruntime itself say is wrong?"""


class Library:
    """The functions of the table, and what all sessions of a process share."""

    def __init__(self, path: str) -> None:
        library = ctypes.CDLL(path)
        library.OrtGetApiBase.restype = c_void_p
        base = ctypes.cast(library.OrtGetApiBase(), POINTER(c_void_p))
        table = ctypes.CFUNCTYPE(c_void_p, c_uint32)(base[0])(VERSION)
        self._table = ctypes.cast(table, POINTER(c_void_p))
        self._message = ctypes.CFUNCTYPE(c_char_p, c_void_p)(self._table[2])
        self._drop_status = self.dropper(93)
        self.calls = {name: self._function(*entry) for name, entry in TABLE.items()}
        self._env = self.made("CreateEnv", ERRORS, b"")
        self.memory = self.made("CreateCpuMemoryInfo", 0, 0)
        self.allocator = self.made("GetAllocatorWithDefaultOptions")

    def _function(self, place: int, arguments: tuple[Any, ...]) -> Any:
        # What is over at once keeps the interpreter's lock; loading and running a model let other threads go on.
        kind = ctypes.CFUNCTYPE if place in (3, 7, 9) else ctypes.PYFUNCTYPE
        return kind(c_void_p, *arguments)(self._table[place])

    def dropper(self, place: int) -> Any:
        """The function at this place that frees something."""
        return ctypes.PYFUNCTYPE(None, c_void_p)(self._table[place])

    def check(self, status: int | None) -> None:
        """Raise what a status says.

        Raises:
            SessionFailed: it says something.
        """
        if status:
            said = (self._message(status) or b"").decode("utf-8", "replace")
            self._drop_status(status)
            raise SessionFailed(said)

    def made(self, name: str, *arguments: Any) -> c_void_p:
        """What does this function make?"""
        made = c_void_p()
        self.check(self.calls[name](*arguments, byref(made)))
        return made

    def session(self, path: Path, threads: int) -> c_void_p:
        """Load a model."""
        options = self.made("CreateSessionOptions")
        self.check(self.calls["SetIntraOpNumThreads"](options, threads))
        self.check(self.calls["SetInterOpNumThreads"](options, 1))
        # The graph was optimised once, when it was converted.
        self.check(self.calls["SetSessionGraphOptimizationLevel"](options, 0))
        try:
            return self.made("CreateSession", self._env, os.fsencode(path), options)
        finally:
            self.dropper(100)(options)


class Session:
    """A loaded model.

    Args:
        path: an ONNX model.
        threads: how many threads one call may use.

    Raises:
        SessionFailed: the model does not load, or onnxruntime is not there.
    """

    def __init__(self, path: Path, threads: int) -> None:
        self._library = library()
        self._session = self._library.session(path, threads)
        calls = self._library.calls
        self._run, self._wrap = calls["Run"], calls["CreateTensorWithDataAsOrtValue"]
        self._about, self._type = calls["GetTensorTypeAndShape"], calls["GetTensorElementType"]
        self._rank, self._sizes = calls["GetDimensionsCount"], calls["GetDimensions"]
        self._data = calls["GetTensorMutableData"]
        self._drop, self._drop_about = self._library.dropper(96), self._library.dropper(99)
        self._names: dict[tuple[str, ...], Any] = {}

    def run(self, outputs: Iterable[str], inputs: Mapping[str, Block]) -> list[Block]:
        """What are the outputs of these names?

        Raises:
            SessionFailed: the model fails on these inputs.
        """
        asked, given = self._named(tuple(outputs)), self._named(tuple(inputs))
        values, said = (c_void_p * len(given))(), (c_void_p * len(asked))()
        try:
            for index, block in enumerate(inputs.values()):
                values[index] = self._value(block)
            self._library.check(self._run(
                self._session, None, given, values, len(given), asked, len(asked), said))
            return [self._block(value) for value in said]
        finally:
            for value in (*values, *said):
                self._drop(value)

    def _named(self, names: tuple[str, ...]) -> Any:
        found = self._names.get(names)
        if found is None:
            found = self._names[names] = (c_char_p * len(names))(*(name.encode() for name in names))
        return found

    def _value(self, block: Block) -> int | None:
        rank = len(block.shape)
        shape = (c_int64 * rank)(*block.shape)
        if isinstance(block.data, list):
            return self._texts(block.data, shape, rank)
        made = c_void_p()
        self._library.check(self._wrap(self._library.memory, block.data, len(block.data), shape, rank,
                                       TYPES[block.dtype], byref(made)))
        return made.value

    def _texts(self, texts: list[str], shape: Any, rank: int) -> int | None:
        made = self._library.made("CreateTensorAsOrtValue", self._library.allocator, shape, rank, TYPES["string"])
        for index, text in enumerate(texts):
            body = text.encode()
            # Filled one by one: the call that takes all of them ends a text at its first NUL.
            place = self._library.made("GetResizedStringTensorElementBuffer", made, index, len(body))
            ctypes.memmove(place, body, len(body))
        return made.value

    def _block(self, value: int | None) -> Block:
        # One piece of memory for all that is asked: its address, type, rank, sizes, and where the values lie.
        said = (c_int64 * (4 + MOST_PS))()
        self._library.check(self._about(value, said))
        about = said[0]
        status = (self._type(about, byref(said, 8)) or self._rank(about, byref(said, 16))
                  or self._sizes(about, byref(said, 32), min(said[2], MOST_PS)))
        self._drop_about(about)
        self._library.check(status)
        dtype, shape = NAMES.get(said[1]), tuple(said[4 : 4 + said[2]])
        if dtype is None:
            raise SessionFailed(f"an output has ONNX's type {said[1]}, which is not read here")
        count = prod(shape)
        if dtype == "string":
            return Block(dtype, shape, self._read_texts(value, count))
        self._library.check(self._data(value, byref(said, 24)))
        return Block(dtype, shape, string_at(said[3], count * SIZES[dtype]) if count else b"")

    def _read_texts(self, value: int | None, count: int) -> list[str]:
        size, calls = c_size_t(), self._library.calls
        self._library.check(calls["GetStringTensorDataLength"](value, byref(size)))
        body, starts = ctypes.create_string_buffer(size.value + 1), (c_size_t * count)()
        self._library.check(calls["GetStringTensorContent"](value, body, size, starts, count))
        ends = [*starts[1:], size.value]
        return [body.raw[a:b].decode("utf-8", "replace") for a, b in zip(starts, ends, strict=True)]


_library: Library | None = None


def library() -> Library:
    """The library of this process, loaded once.

    Raises:
        SessionFailed: onnxruntime is not on Python's path, or does not load on this machine.
    """
    global _library
    if _library is None:
        try:
            _library = Library(found())
        except OSError as error:
            raise SessionFailed(f"onnxruntime does not load: {error}") from None
    return _library


def found() -> str:
    """Where is onnxruntime's library? It comes with its wheel, whose Python side is not imported.

    Raises:
        SessionFailed: it is nowhere.
    """
    for folder in sys.path:
        for path in sorted((Path(folder) / "onnxruntime" / "capi").glob("libonnxruntime.*")):
            return str(path)
    raise SessionFailed("onnxruntime is not installed; Next: pip install onnxruntime")
