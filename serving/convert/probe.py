"""Awkward requests made up for a model, and what the native model says to them: what it takes, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..runtime.manifest import Tensor
from .graph import first_line
from .words import Arrays, Column, Converted, Kept

UNSEEN = "never seen before \u00e9\u4e2d"
TEXTS = ("", " ", "!?.,;", UNSEEN, "caf\u00e9 na\u00efve \u0130stanbul", "a", "A a A", "tab\tand\nline", "x" * 500,
         "don't stop-me", "\U0001f600 ok", "1 2 3", "word " * 400)


@dataclass(frozen=True, slots=True)
class Probed:
    """What may requests hold, and which awkward ones does the native model answer?

    Attributes:
        inputs: the signature with what was found out: ranges, bounds, missing values, unknown categories.
        edges: awkward requests that the native model answers with finite numbers.
        answers: its answers.
    """

    inputs: tuple[Tensor, ...]
    edges: Arrays
    answers: Arrays


def probe(converted: Converted, golden: Arrays) -> Probed:
    """What does the native model make of requests that its author did not think of?

    Args:
        converted: the model, native and converted.
        golden: requests that it answers, input name -> (rows, ...).
    """
    bounds = {} if isinstance(converted.model, Kept) else _bounds(converted.model)
    tensors = tuple(_contract(c, golden, converted.native, c.bounds or bounds.get(c.name)) for c in converted.inputs)
    columns = [_variants(t, golden[t.name], converted.texts) for t in tensors]
    edges = _one_at_a_time(tensors, columns, golden)
    return Probed(tensors, *_answered(edges, converted.native))


def _contract(column: Column, golden: Arrays, native: Callable[[Arrays], Arrays],
              bounds: tuple[int, int] | None) -> Tensor:
    values = golden[column.name]
    flat, seen = len(column.shape) == 1, None
    if column.dtype not in ("string", "bool") and np.isfinite(values.astype(np.float64)).any():
        seen = (float(np.nanmin(values)), float(np.nanmax(values)))
    missing = flat and _takes(native, golden, column.name, _missing(column))
    closed = bool(column.known) and not _takes(native, golden, column.name, _unseen(column))
    return Tensor(column.name, column.dtype, column.shape, seen, bounds, missing, column.known, closed)


def _missing(column: Column) -> Any:
    if column.dtype == "string":
        return ""
    return np.nan if column.dtype.startswith("float") else None


def _unseen(column: Column) -> Any:
    if column.dtype == "string":
        return UNSEEN
    return max((v for v in column.known if isinstance(v, int)), default=0) + 1


def _takes(native: Callable[[Arrays], Arrays], golden: Arrays, name: str, value: Any) -> bool:
    """Does the native model answer the first golden request with this one value changed, and with a number?"""
    if value is None:
        return False
    rows = {k: v[:1].copy() for k, v in golden.items()}
    rows[name] = np.array([value], rows[name].dtype if rows[name].dtype.kind != "U" else object)
    try:
        return _finite(native(rows))
    except Exception:  # noqa: BLE001 - whatever the native model raises, it does not take this value
        return False


def _finite(answers: Arrays) -> bool:
    return all(bool(np.isfinite(a).all()) for a in answers.values() if a.dtype.kind == "f")


def _variants(tensor: Tensor, golden: NDArray[Any], texts: Mapping[str, Any]) -> list[Any]:
    if tensor.dtype == "bool":
        return [True, False]
    if tensor.dtype == "string":
        known = [str(k) for k in tensor.known[:40]]
        words = texts[tensor.name].vocabulary[:5] if tensor.name in texts else ()
        free = [] if tensor.closed else [t for t in TEXTS if t or tensor.missing or tensor.name in texts]
        return [*known, *free, *(w for w in words), *(f"{w}, {w.upper()}! zzz" for w in words)]
    if tensor.dtype.startswith(("int", "uint")):
        return _whole_numbers(tensor, golden)
    return _numbers(tensor, golden)


def _whole_numbers(tensor: Tensor, golden: NDArray[Any]) -> list[Any]:
    if tensor.known:
        extra = [] if tensor.closed else [_unseen(Column(tensor.name, tensor.dtype, tensor.shape, tensor.known))]
        return [*tensor.known[:40], *extra]
    if tensor.bounds:
        return sorted({*tensor.bounds, sum(tensor.bounds) // 2})
    low, high = int(golden.min()), int(golden.max())
    return sorted({low, high, low - 1, high + 1, 0, -1, 1, high * 10})


def _numbers(tensor: Tensor, golden: NDArray[Any]) -> list[Any]:
    low, high = tensor.seen or (0.0, 1.0)
    span = (high - low) or 1.0
    values = np.unique(golden[np.isfinite(golden)].astype(np.float64))
    # Just beside and half way between values that occur: where trees cut.
    middle = ((values[1:] + values[:-1]) / 2)[:: max(1, len(values) // 16)]
    beside = values[:: max(1, len(values) // 8)] + span * 1e-3
    far = [low - span, high + span, low - 10 * span, high + 10 * span, 0.0, -1.0, 1.0]
    return [*far, *middle.tolist(), *beside.tolist(), *([np.nan] if tensor.missing else [])]


def _one_at_a_time(tensors: tuple[Tensor, ...], columns: list[list[Any]], golden: Arrays) -> Arrays:
    """Golden rows with one input changed, and rows with every input awkward at once."""
    rows: dict[str, list[Any]] = {t.name: [] for t in tensors}
    count = len(next(iter(golden.values())))
    for index, variants in enumerate(columns):
        for turn, value in enumerate(variants[: max(6, 400 // len(tensors))]):
            for other, tensor in enumerate(tensors):
                base = golden[tensor.name][turn % count]
                rows[tensor.name].append(_put(base, value, turn) if other == index else base)
    for turn in range(min(64, max(map(len, columns)))):
        for tensor, variants in zip(tensors, columns, strict=True):
            rows[tensor.name].append(_put(golden[tensor.name][turn % count], variants[turn % len(variants)], turn))
    return {t.name: _stack(rows[t.name], t) for t in tensors}


def _put(base: Any, value: Any, turn: int) -> Any:
    """The value itself, or a tensor with the value in one place, or everywhere on every other turn."""
    if np.ndim(base) == 0:
        return value
    changed = np.array(base, copy=True)
    if turn % 2:
        changed[...] = value
    else:
        changed.reshape(-1)[turn % changed.size] = value
    return changed


def _stack(rows: list[Any], tensor: Tensor) -> NDArray[Any]:
    if tensor.dtype == "string":
        return np.array([str(r) for r in rows], object)
    with np.errstate(over="ignore", invalid="ignore"):
        return np.stack([np.asarray(r) for r in rows]).astype(tensor.dtype)


def _answered(edges: Arrays, native: Callable[[Arrays], Arrays]) -> tuple[Arrays, Arrays]:
    """Those of the rows that the native model answers with finite numbers, and its answers."""
    kept, answers = _try(edges, native)
    if kept:
        return edges, answers
    singles = [({k: v[i : i + 1] for k, v in edges.items()}) for i in range(len(next(iter(edges.values()))))]
    good = [(row, answer) for row in singles for ok, answer in [_try(row, native)] if ok]
    if not good:
        return {k: v[:0] for k, v in edges.items()}, {}
    return ({k: np.concatenate([row[k] for row, _ in good]) for k in edges},
            {k: np.concatenate([answer[k] for _, answer in good]) for k in good[0][1]})


def _try(rows: Arrays, native: Callable[[Arrays], Arrays]) -> tuple[bool, Arrays]:
    try:
        answers = native(rows)
    except Exception as error:  # noqa: BLE001 - what the native model refuses is not asked of the converted one
        return False, {"refused": np.array([first_line(error)])}
    return _finite(answers), answers


def _bounds(model: Any) -> dict[str, tuple[int, int]]:
    """Which whole-number inputs choose a row of a table, and how many rows has it? Beyond, the graph fails."""
    sizes = {t.name: t.dims[0] for t in model.graph.initializer if t.dims}
    origin = {v.name: v.name for v in model.graph.input}
    found: dict[str, tuple[int, int]] = {}
    for node in model.graph.node:
        if node.op_type in ("Cast", "Unsqueeze", "Squeeze", "Reshape", "Identity", "Transpose", "Flatten"):
            if node.input[0] in origin:
                origin[node.output[0]] = origin[node.input[0]]
        elif node.op_type == "Gather" and node.input[0] in sizes and node.input[1] in origin:
            name, size = origin[node.input[1]], int(sizes[node.input[0]])
            found[name] = (0, min(size, found.get(name, (0, size))[1] + 1) - 1)
    return found
