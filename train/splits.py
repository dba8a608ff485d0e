"""Which rows train, which choose (validation), which judge (held out)?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .errors import BadData, LeakedRows
from .words import Array, Dataset, Examples, Kind

HELD_OUT_SHARE = 0.2
VALIDATION_SHARE = 0.2


@dataclass(frozen=True, slots=True)
class Split:
    """Three disjoint sets of rows; models fit on train, choices are made on validation."""

    train: Examples
    validation: Examples
    held_out: Examples


def split(dataset: Dataset, *, seed: int) -> Split:
    """Cut held-out 20 % first, then validation 20 % of the rest; stratified by class, seeded."""
    rng = np.random.default_rng(seed)
    examples = dataset.examples
    rows = np.arange(len(examples))
    strata = examples.target if dataset.kind is Kind.CLASSIFICATION else np.zeros(len(examples), dtype=np.int64)
    rest, held_out = _stratified(rows, strata, HELD_OUT_SHARE, rng)
    train, validation = _stratified(rest, strata[rest], VALIDATION_SHARE, rng)
    made = Split(examples.take(train), examples.take(validation), examples.take(held_out))
    refuse_leaks(made, dataset.source)
    return made


def _stratified(rows: Array, strata: Array, share: float, rng: np.random.Generator) -> tuple[Array, Array]:
    """Draw `share` of every stratum; the total is ceil(share * rows) exactly, largest remainders first."""
    classes, counts = np.unique(strata, return_counts=True)
    wanted = counts * share
    quota = np.floor(wanted).astype(int)
    missing = math.ceil(share * len(rows)) - int(quota.sum())
    for index in np.argsort(quota - wanted, kind="stable")[: max(missing, 0)]:
        quota[index] += 1
    drawn = [rng.permutation(rows[strata == name])[:n] for name, n in zip(classes, quota, strict=True)]
    taken = np.concatenate(drawn)
    return rng.permutation(np.setdiff1d(rows, taken)), np.sort(taken)


def refuse_leaks(made: Split, source: str) -> None:
    """Refuse a split in which a held-out row also trains or chooses.

    Raises:
        LeakedRows: with how many rows it is.
    """
    seen = set(made.train.row_hashes()) | set(made.validation.row_hashes())
    leaked = sum(row in seen for row in made.held_out.row_hashes())
    if leaked:
        raise LeakedRows(f"{leaked} held-out rows also stand in the training rows", file=source)
    if not len(made.held_out):
        raise BadData("too few rows to hold any out", file=source)
