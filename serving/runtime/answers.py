"""From the model's blocks to an answer: predictions, their labels, and who gave them."""

from __future__ import annotations

from math import prod
from typing import Any

from .block import Block, Blocks
from .manifest import Manifest


def labels(first: Block, manifest: Manifest) -> list[str] | None:
    """What is the most likely label of each row of the first output; None where there are no labels?"""
    names = manifest.labels
    if not names or not first.dtype.startswith("float"):
        return None
    values, wide = first.flat(), len(names)
    if wide == 2 and len(values) == len(first):
        return [names[value >= 0.5] for value in values]  # one sigmoid: the probability of the second label
    if first.shape[1:] != (wide,):
        return None
    rows = (list(values[i : i + wide]) for i in range(0, len(values), wide))
    return [names[row.index(max(row))] for row in rows]


def predictions(outputs: Blocks) -> Any:
    """What is said under `predictions`: the rows, or the rows of each output?"""
    if len(outputs) == 1:
        return next(iter(outputs.values())).tolist()
    return {name: block.tolist() for name, block in outputs.items()}


def as_json(outputs: Blocks, manifest: Manifest, unknown: list[dict[str, Any]]) -> dict[str, Any]:
    """What is the answer, ready for JSON?"""
    answer: dict[str, Any] = {"predictions": predictions(outputs)}
    named = labels(outputs[manifest.outputs[0].name], manifest)
    if named is not None:
        answer["labels"] = named
    if unknown:
        answer["unknown"] = unknown
    answer["model"] = {"name": manifest.name, "version": manifest.version, "digest": manifest.digest}
    return answer


def as_csv(outputs: Blocks, manifest: Manifest) -> bytes:
    """What is the answer as CSV: a label where there is one, then a column for each number?"""
    import csv
    import io

    names: list[str] = []
    columns: list[list[Any]] = []
    named = labels(outputs[manifest.outputs[0].name], manifest)
    if named is not None:
        names, columns = ["label"], [named]
    for name, block in outputs.items():
        flat, wide = list(block.flat()), prod(block.shape[1:])
        names += [_heading(name, i, wide, manifest) for i in range(wide)]
        columns += [flat[i::wide] for i in range(wide)]
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(zip(*columns, strict=True))
    return text.getvalue().encode()


def _heading(name: str, index: int, width: int, manifest: Manifest) -> str:
    if width == 1:
        return name
    is_label = name == manifest.outputs[0].name and width == len(manifest.labels)
    return f"{name}.{manifest.labels[index] if is_label else index}"
