"""Is this data fit to train on? Each check names the file, the row and the column."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .errors import BadData
from .words import Array


def class_indices(values: Sequence[str], *, file: str, column: str) -> tuple[Array, tuple[str, ...]]:
    """Class index of each value, and the labels in order: numbers by size, other words by letter.

    Raises:
        BadData: a missing value, one class only, or fewer rows than classes.
    """
    for row, value in enumerate(values, start=1):
        if value == "":
            raise BadData("the target is missing", file=file, row=row, column=column)
    labels = tuple(sorted(set(values), key=_label_order))
    if len(labels) < 2:
        raise BadData(f"only one class ({labels[0]!r}): there is nothing to tell apart", file=file, column=column)
    if len(values) < 5 * len(labels):
        message = f"{len(values)} rows for {len(labels)} classes: too few to train, choose and judge on"
        raise BadData(message, file=file, column=column)
    place = {label: index for index, label in enumerate(labels)}
    target = np.array([place[value] for value in values], dtype=np.int64)
    counts = np.bincount(target)
    rare = int(counts.argmin())
    if counts[rare] < 3:
        row = int(np.flatnonzero(target == rare)[0]) + 1
        message = f"class {labels[rare]!r} has {counts[rare]} rows: one each to train, choose and judge on are needed"
        raise BadData(message, file=file, row=row, column=column)
    return target, labels


def _label_order(label: str) -> tuple[int, float, str]:
    try:
        return (0, float(label), label)
    except ValueError:
        return (1, 0.0, label)


def finite_target(values: Array, *, file: str, column: str) -> Array:
    """The values as float32.

    Raises:
        BadData: one is missing or not finite.
    """
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise BadData("the target is not a number", file=file, row=int(bad[0]) + 1, column=column)
    return values.astype(np.float32)


def some_rows(count: int, *, file: str) -> None:
    """Refuse an empty file.

    Raises:
        BadData: there is no row.
    """
    if not count:
        raise BadData("the file has no rows", file=file)


def indices_among(values: Sequence[str], labels: tuple[str, ...], *, file: str, column: str) -> Array:
    """Class index of each value of a held-out file.

    Raises:
        BadData: a class that the training rows do not have.
    """
    place = {label: index for index, label in enumerate(labels)}
    for row, value in enumerate(values, start=1):
        if value not in place:
            raise BadData(f"class {value!r} is not among the training classes", file=file, row=row, column=column)
    return np.array([place[value] for value in values], dtype=np.int64)
