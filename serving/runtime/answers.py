"""From the model's arrays to an answer: predictions, their labels, and who gave them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .fit import Arrays
from .manifest import Manifest


def labels(outputs: Arrays, manifest: Manifest) -> list[str] | None:
    """What is the most likely label of each row; None where there are no labels?"""
    first = outputs[manifest.outputs[0].name]
    if not manifest.labels or first.dtype.kind != "f":
        return None
    if len(manifest.labels) == 2 and first.size == len(first):
        chosen = (first.reshape(-1) >= 0.5).astype(int)  # one sigmoid: the probability of the second label
    elif first.ndim == 2 and first.shape[1] == len(manifest.labels):
        chosen = first.argmax(axis=-1)
    else:
        return None
    names = manifest.labels
    return [names[i] for i in chosen.tolist()]


def as_json(outputs: Arrays, manifest: Manifest, unknown: list[dict[str, Any]]) -> dict[str, Any]:
    """What is the answer, ready for JSON?"""
    first = manifest.outputs[0].name
    predictions: Any = outputs[first].tolist() if len(outputs) == 1 else {k: v.tolist() for k, v in outputs.items()}
    answer: dict[str, Any] = {"predictions": predictions}
    named = labels(outputs, manifest)
    if named is not None:
        answer["labels"] = named
    if unknown:
        answer["unknown"] = unknown
    answer["model"] = {"name": manifest.name, "version": manifest.version, "digest": manifest.digest}
    return answer


def as_csv(outputs: Arrays, manifest: Manifest) -> bytes:
    """What is the answer as CSV: a label where there is one, then a column for each number?"""
    import csv
    import io

    names: list[str] = []
    columns: list[list[Any]] = []
    named = labels(outputs, manifest)
    if named is not None:
        names, columns = ["label"], [named]
    for name, array in outputs.items():
        flat = array.reshape(len(array), -1)
        names += [_heading(name, i, flat.shape[1], manifest) for i in range(flat.shape[1])]
        columns += [column.tolist() for column in flat.T]
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


def first_array(outputs: Arrays, manifest: Manifest) -> NDArray[Any]:
    """Which array answers where only one can be given?"""
    array = outputs[manifest.outputs[0].name]
    return np.ascontiguousarray(array)
