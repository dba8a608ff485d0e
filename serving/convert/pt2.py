"""Whether a PyTorch program can be read without running anything that somebody put into its file.

`torch.export.load` unpickles whatever the archive says is a pickle, evaluates its sizes as Python, and takes any
attribute of torch for an operator. So the archive is looked through first, and what is not plainly weights, tensors
and a graph of torch's own operators is refused.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import Unconvertible

# What torch 2.13 writes of a program. Custom objects are unpickled, and compiled code is run: neither is listed.
PARTS = re.compile(
    r"\w+/(archive_format|archive_version|byteorder|\.data/(version|serialization_id)|models/\w+\.json|"
    r"data/(weights/(weight_\d+|\w+_config\.json)|constants/(tensor_\d+|\w+_config\.json)|sample_inputs/\w+\.pt))")
OPERATORS = re.compile(r"torch\.ops\.(aten|prims)\.\w+\.\w+|torch\.sym_\w+|_operator\.(getitem|add|sub|mul|neg|pow|mod|"
                       r"floordiv|truediv|eq|ne|lt|le|gt|ge|and_|or_)")
SYMBOL = re.compile(r"Symbol\('\w+'(, \w+=(True|False))*\)")  # as sympy writes the name of a size that may vary
SIZES = re.compile(r"[\w\s+\-*/(),]*")
WORDS = re.compile(r"\d+|Integer|Add|Mul|Pow|Mod|Max|Min|PythonMod|FloorDiv|CeilDiv|True|False|int_oo|oo")


def refuse_code(path: Path) -> None:
    """Say no to a file that may run code when it is read.

    Raises:
        Unconvertible: it may; the message names the part.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            strange = next(_strange(archive), None)
    except (zipfile.BadZipFile, ValueError):
        raise Unconvertible(f"{path.name} is no exported PyTorch program") from None
    if strange:
        raise Unconvertible(f"{path.name} holds {strange}, which may run code when it is read; Next: log a program of "
                            "torch's own operators, with weights and tensors beside them and nothing else")


def _strange(archive: zipfile.ZipFile) -> Iterator[str]:
    names = archive.namelist()
    yield from (f"{name} twice" for name in names if names.count(name) > 1)  # readers differ in which one they take
    yield from (name for name in names if not PARTS.fullmatch(name))
    for name in names:
        if name.endswith(".json"):
            yield from (f"{found} in {name}" for found in _in_json(json.loads(archive.read(name))))
        elif name.endswith(".pt") and not _plain(archive.read(name)):
            yield name


def _in_json(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for inner in value:
            yield from _in_json(inner)
    if not isinstance(value, dict):
        return
    for key, inner in value.items():
        if key == "use_pickle" and inner is not False:
            yield "a pickle"
        elif key == "target" and isinstance(inner, str) and not OPERATORS.fullmatch(inner):
            yield f"the operator {inner[:80]}"
        elif key == "expr_str" and not _is_size(inner):
            yield f"the size {str(inner)[:80]}"
        elif key == "guards_code" and inner:
            yield from (f"the guard {str(guard)[:80]}" for guard in inner if not _is_guard(str(guard)))
        else:
            yield from _in_json(inner)


def _is_size(text: Any) -> bool:
    rest = SYMBOL.sub("1", str(text))
    return bool(SIZES.fullmatch(rest)) and all(WORDS.fullmatch(word) for word in re.findall(r"\w+", rest))


def _is_guard(text: str) -> bool:
    """Torch writes them as ``L['x'].size()[0] <= 4``: names, sizes and comparisons."""
    rest = re.sub(r"L(\['\w+'\])+|\.size\(\)|\.stride\(\)|\[\d+\]|\bnot\b|\band\b|\bor\b|[<>=!]=?|%", " 1 ", text)
    return _is_size(rest)


def _plain(body: bytes) -> bool:
    """Does torch read this without its unrestricted unpickler, which it falls back to otherwise?"""
    import torch

    try:
        torch.load(io.BytesIO(body), weights_only=True)
    except Exception:  # noqa: BLE001 - whatever stands in the way, torch would go on to the other one
        return False
    return True
