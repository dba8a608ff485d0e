"""Which rows train, which choose (validation), which judge (held out)?

The laws, checked by `refuse_leaks` on every split that is made:
  1. No row stands in both held-out and the rows that train or choose. Copies of a row stay on one side.
  2. By group: no group is on two sides. By time: no held-out row is older than a training row.
  3. The same seed and rows give the same split.
"""

from __future__ import annotations

import math

import numpy as np

from .errors import BadData, LeakedRows
from .words import Array, DataOptions, Dataset, Examples, Kind, Split

HELD_OUT_SHARE = 0.2
VALIDATION_SHARE = 0.2


def split(dataset: Dataset, options: DataOptions) -> Split:
    """Cut held-out 20 % first (unless the data brings its own), then validation 20 % of the rest.

    Raises:
        BadData: too few rows, or a class that is missing where it is needed.
        LeakedRows: the data's own held-out rows also stand in its training rows, and `duplicates` is refuse.
    """
    examples = dataset.examples
    rng = np.random.default_rng(options.seed)
    rest = np.arange(len(examples))
    held_out = dataset.held_out
    if held_out is None:
        rest, judged = _cut(dataset, rest, HELD_OUT_SHARE, options, rng)
        held_out = examples.take(judged)
    train, validation = _cut(dataset, rest, VALIDATION_SHARE, options, rng)
    made = Split(examples.take(train), examples.take(validation), held_out)
    made = refuse_leaks(made, dataset.source, drop=options.settings.text("duplicates") == "drop")
    _refuse_poor(made, dataset)
    return made


def _cut(
    dataset: Dataset, rows: Array, share: float, options: DataOptions, rng: np.random.Generator
) -> tuple[Array, Array]:
    way = options.settings.text("split")
    if way == "time":
        return _by_time(rows, _aside(dataset, options, "time")[rows], share)
    if way == "group":
        return _by_group(rows, _aside(dataset, options, "group")[rows], share, rng)
    units = _copies(dataset.examples, rows)
    strata = dataset.examples.target if dataset.kind is Kind.CLASSIFICATION else np.zeros(len(dataset.examples), int)
    return _stratified(rows, strata[rows], units, share, rng)


def _aside(dataset: Dataset, options: DataOptions, what: str) -> Array:
    column = options.settings.text(what)
    if column not in dataset.examples.aside:
        raise BadData(f"a split by {what} needs --{what} with a column of the data", file=dataset.source)
    return dataset.examples.aside[column]


def _copies(examples: Examples, rows: Array) -> Array:
    """A number per row, equal for rows that are copies of each other."""
    seen: dict[bytes, int] = {}
    hashes = examples.row_hashes()
    return np.array([seen.setdefault(hashes[row], len(seen)) for row in rows], dtype=np.int64)


def _stratified(
    rows: Array, strata: Array, units: Array, share: float, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draw `share` of every stratum, at least one row, ceil(share * rows) in all; copies go together."""
    classes, counts = np.unique(strata, return_counts=True)
    wanted = counts * share
    quota = np.maximum(np.floor(wanted), counts >= 2).astype(int)
    missing = math.ceil(share * len(rows)) - int(quota.sum())
    for index in np.argsort(quota - wanted, kind="stable")[: max(missing, 0)]:
        quota[index] += 1
    drawn = [_draw(np.flatnonzero(strata == name), units, n, rng) for name, n in zip(classes, quota, strict=True)]
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[np.concatenate(drawn)] = True
    return rng.permutation(rows[~chosen]), rows[chosen]


def _draw(places: Array, units: Array, wanted: int, rng: np.random.Generator) -> Array:
    """About `wanted` of the places: whole units in random order until there are enough."""
    order = rng.permutation(places)
    _, first = np.unique(units[order], return_index=True)
    if len(first) == len(order):
        return order[:wanted]
    by_unit = np.argsort(np.argsort(first)[np.unique(units[order], return_inverse=True)[1]], kind="stable")
    order = order[by_unit]
    ends = np.flatnonzero(np.diff(units[order], append=-1) != 0) + 1
    cut = int(ends[np.searchsorted(ends, wanted)]) if wanted else 0
    return order[:cut]


def _by_group(rows: Array, groups: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Whole groups in random order until the share is reached."""
    names, index, counts = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    order = rng.permutation(len(names))
    enough = int(np.searchsorted(np.cumsum(counts[order]), share * len(rows))) + 1
    chosen = np.isin(index, order[:enough])
    return rng.permutation(rows[~chosen]), rows[chosen]


def _by_time(rows: Array, times: Array, share: float) -> tuple[Array, Array]:
    """The newest share; rows of one instant stay together."""
    border = np.sort(times)[len(rows) - math.ceil(share * len(rows))]
    chosen = times >= border
    return rows[~chosen], rows[chosen]


def refuse_leaks(made: Split, source: str, *, drop: bool) -> Split:
    """The split if no held-out row also trains or chooses; with `drop`, without those that do.

    Raises:
        LeakedRows: with how many rows it is.
    """
    seen = set(made.train.row_hashes()) | set(made.validation.row_hashes())
    leaked = np.array([row in seen for row in made.held_out.row_hashes()], dtype=bool)
    count = int(leaked.sum())
    if count and not drop:
        message = f"{count} held-out rows also stand in the training rows; --duplicates drop leaves them out"
        raise LeakedRows(message, file=source)
    kept = made.held_out.take(np.flatnonzero(~leaked)) if count else made.held_out
    return Split(made.train, made.validation, kept, {"split.leaked_rows_dropped": float(count)})


def _refuse_poor(made: Split, dataset: Dataset) -> None:
    for name, part in (("train", made.train), ("validate", made.validation), ("hold out", made.held_out)):
        if not len(part):
            raise BadData(f"{len(dataset.examples)} rows leave none to {name}", file=dataset.source)
    if dataset.kind is Kind.CLASSIFICATION:
        absent = set(range(len(dataset.labels))) - set(np.unique(made.train.target).tolist())
        if absent:
            label = dataset.labels[min(absent)]
            raise BadData(f"no row of class {label!r} is left to train on", file=dataset.source)
