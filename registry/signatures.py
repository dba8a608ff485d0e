"""What does a model ask of its callers, and does a new one still fit them? Pure, but for reading MLmodel's text.

A caller of the champion sends the champion's inputs and reads its outputs. So a candidate may take more than that, and
may give more than that: an optional input added, an input's type or shape widened, an output added. It may not ask for
another input, drop one (a request that names it would be refused), take less of one, or drop, rename or change an
output. Classes keep their names and order: that is what an answer's numbers mean.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

# Which values every value of a type fits into without loss; a number type also into itself.
_WIDER: Mapping[str, frozenset[str]] = {
    "int8": frozenset({"int16", "int32", "int64", "float32", "float64"}),
    "int16": frozenset({"int32", "int64", "float32", "float64"}),
    "int32": frozenset({"int64", "float64"}),
    "int64": frozenset(),
    "uint8": frozenset({"int16", "int32", "int64", "uint16", "uint32", "uint64", "float32", "float64"}),
    "float16": frozenset({"float32", "float64"}),
    "float32": frozenset({"float64"}),
}
_COLUMN_TYPES = {"integer": "int32", "long": "int64", "float": "float32", "double": "float64", "boolean": "bool"}
_TEXT = frozenset({"str", "object", "string"})
Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Field:
    """One input or output: `shape` without the rows, -1 where any size will do."""

    name: str
    type: str
    shape: Shape = ()
    required: bool = True


@dataclass(frozen=True, slots=True)
class Signature:
    """What a model takes and gives, and what its classes are called."""

    inputs: tuple[Field, ...]
    outputs: tuple[Field, ...]
    labels: tuple[str, ...] = ()


def signature_of(described: Mapping[str, Any]) -> Signature | None:
    """The signature that a parsed MLmodel file holds; None when it has none, or no inputs or outputs in it.

    Raises:
        ValueError: when it is not MLflow's.
    """
    said = described.get("signature") or {}
    try:
        inputs = tuple(_field(one, place, "input") for place, one in enumerate(json.loads(said.get("inputs") or "[]")))
        outputs = tuple(_field(one, at, "output") for at, one in enumerate(json.loads(said.get("outputs") or "[]")))
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"the signature cannot be read: {error}") from None
    facts = (described.get("metadata") or {}).get("slipway") or {}
    return Signature(inputs, outputs, tuple(map(str, facts.get("labels") or ()))) if inputs and outputs else None


def _field(one: Mapping[str, Any], place: int, role: str) -> Field:
    name = str(one.get("name") or f"{role} {place}")
    required = bool(one.get("required", True))
    if one["type"] == "tensor":
        spec = one["tensor-spec"]
        return Field(name, _plain(str(spec["dtype"])), tuple(int(size) for size in spec["shape"][1:]), required)
    return Field(name, _plain(str(one["type"])), (), required)


def _plain(name: str) -> str:
    return "string" if name in _TEXT or name.startswith(("<U", "|S")) else _COLUMN_TYPES.get(name, name)


def breaks(candidate: Signature, champion: Signature) -> Iterator[str]:
    """What would fail for somebody who calls the champion and gets the candidate instead."""
    mine, theirs = _by_name(candidate.inputs), _by_name(champion.inputs)
    yield from (f"input {name} is gone" for name in theirs if name not in mine)
    yield from (f"input {name} is new and required" for name in mine if name not in theirs and mine[name].required)
    for name in [name for name in theirs if name in mine]:
        yield from _narrower("input", mine[name], theirs[name])
        if mine[name].required and not theirs[name].required:
            yield f"input {name} is required now"
    given, awaited = _by_name(candidate.outputs), _by_name(champion.outputs)
    yield from (f"output {name} is gone" for name in awaited if name not in given)
    for name in [name for name in awaited if name in given]:
        yield from _narrower("output", awaited[name], given[name], new=given[name])
    if candidate.labels != champion.labels:
        yield from _relabelled(candidate.labels, champion.labels)


def _relabelled(mine: tuple[str, ...], theirs: tuple[str, ...]) -> Iterator[str]:
    gone = [label for label in theirs if label not in mine]
    if gone:
        yield f"classes {', '.join(gone[:5])} are gone"
    elif mine[: len(theirs)] != theirs:
        yield "the classes are in another order"


def changes(candidate: Signature, champion: Signature) -> Iterator[str]:
    """What is new, and fails for nobody."""
    mine, theirs = _by_name(candidate.inputs), _by_name(champion.inputs)
    yield from (f"optional input {name}" for name in mine if name not in theirs and not mine[name].required)
    both = [name for name in theirs if name in mine]
    yield from (f"input {name} takes {mine[name].type}" for name in both if mine[name].type != theirs[name].type)
    outputs = _by_name(champion.outputs)
    yield from (f"output {field.name}" for field in candidate.outputs if field.name not in outputs)


def _by_name(fields: tuple[Field, ...]) -> dict[str, Field]:
    return {field.name: field for field in fields}


def _narrower(role: str, wide: Field, narrow: Field, new: Field | None = None) -> Iterator[str]:
    """Does `wide` hold all that `narrow` may be? Of inputs the candidate's has to be the wide one, of outputs the
    champion's, who is what callers were written for."""
    now, before = (new, wide) if new else (wide, narrow)
    if narrow.type != wide.type and wide.type not in _WIDER.get(narrow.type, ()):
        yield f"{role} {now.name} is {now.type}, was {before.type}"
    fits = len(wide.shape) == len(narrow.shape) and all(
        w in (-1, n) for w, n in zip(wide.shape, narrow.shape, strict=True)
    )
    if not fits:
        yield f"{role} {now.name} has shape {list(now.shape)}, had {list(before.shape)}"
