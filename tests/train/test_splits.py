"""The laws of a split, for any rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from train.errors import BadData, LeakedRows
from train.settings import resolve
from train.splits import split
from train.words import DATA_SETTINGS, Array, DataOptions, Dataset, Examples, Kind


def options(seed: int = 0, **given: str) -> DataOptions:
    """Data options with the usual settings but these."""
    return DataOptions("", seed, resolve(DATA_SETTINGS, given))


def dataset(values: Array, target: Array, held_out: Examples | None = None, **aside: Array) -> Dataset:
    """A two-class dataset over one column."""
    examples = Examples({"x": values.astype(np.float32)}, target.astype(np.int64), aside)
    return Dataset(examples, ("no", "yes"), Kind.CLASSIFICATION, "here", held_out=held_out)


TWO_CLASSES = st.integers(10, 200).flatmap(lambda n: st.tuples(st.just(n), st.integers(5, n - 5)))


@settings(max_examples=60, deadline=None)
@given(TWO_CLASSES, st.integers(0, 2**31), st.integers(1, 200))
def test_no_row_stands_on_two_sides_and_none_is_lost_even_with_copies(
    sizes: tuple[int, int], seed: int, distinct: int
) -> None:
    rows, positives = sizes
    target = np.arange(rows) < positives
    values = np.arange(rows) // max(1, rows // (distinct + 8))
    try:
        made = split(dataset(values, target), options(seed))
    except LeakedRows:
        raise
    except BadData:  # all rows of a class are copies of one row, so they cannot be on two sides
        assume(False)
    parts = (made.train, made.validation, made.held_out)
    assert sum(map(len, parts)) == rows
    hashes = [set(part.row_hashes()) for part in parts]
    assert not hashes[0] & hashes[2]
    assert not hashes[1] & hashes[2]


def test_held_out_is_a_fifth_and_keeps_the_share_of_each_class() -> None:
    made = split(dataset(np.arange(1000), np.arange(1000) < 60), options())
    assert (len(made.held_out), int(made.held_out.target.sum())) == (200, 12)
    assert (len(made.validation), int(made.validation.target.sum())) == (160, 10)


def test_the_same_seed_gives_the_same_split_and_another_seed_another() -> None:
    data = dataset(np.arange(100), np.arange(100) % 2)
    digests = [split(data, options(seed)).held_out.digest() for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_no_group_is_on_two_sides() -> None:
    groups = np.array([f"patient {i % 17}" for i in range(300)], dtype=object)
    made = split(dataset(np.arange(300), np.arange(300) % 2, patient=groups), options(split="group", group="patient"))
    sides = [set(part.aside["patient"].tolist()) for part in (made.train, made.validation, made.held_out)]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    assert all(sides)


def test_by_time_nothing_held_out_is_older_than_what_trains() -> None:
    when = np.random.default_rng(0).permutation(300).astype(float)
    made = split(dataset(np.arange(300), np.arange(300) % 2, when=when), options(split="time", time="when"))
    assert made.train.aside["when"].max() < made.validation.aside["when"].min()
    assert made.validation.aside["when"].max() < made.held_out.aside["when"].min()
    assert len(made.held_out) == 60


def test_held_out_rows_that_also_train_are_refused_with_their_count_or_dropped_when_asked() -> None:
    own = Examples({"x": np.array([3, 4, 5, 900], dtype=np.float32)}, np.array([1, 0, 1, 0]))
    data = dataset(np.arange(100), np.arange(100) % 2, held_out=own)
    with pytest.raises(LeakedRows, match="3 held-out rows also stand in the training rows"):
        split(data, options())
    made = split(data, options(duplicates="drop"))
    assert made.held_out.inputs["x"].tolist() == [900]
    assert made.facts["split.leaked_rows_dropped"] == 3
