"""A held-out row that also trained is found, whatever it was dressed as; one that did not is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gates import planted
from registry.rows import known, of_arrays, row_digests, seen_rows


def test_every_planted_overlap_is_found_and_no_clean_row_is_called_one() -> None:
    for disguise, told in planted(count=50, rows=400).items():
        assert (told["found"], told["clean called planted"]) == (50, 0), disguise


@given(st.lists(st.floats(width=32), min_size=1, max_size=20), st.integers(0, 3))
def test_equal_rows_have_equal_digests_and_other_targets_other_copies(values: list[float], label: int) -> None:
    column = np.array(values, dtype=np.float32)
    truth = np.full(len(column), label)
    narrow, wide = row_digests({"x": column}, truth), row_digests({"x": column.astype(np.float64)}, truth)
    assert (narrow.copies == wide.copies).all()
    assert (narrow.alike == wide.alike).all()
    other = row_digests({"x": column}, truth + 1)
    assert not known(other.copies, narrow.copies).any()
    assert known(other.alike, narrow.alike).all()


def test_numbers_that_differ_in_the_third_digit_are_not_alike() -> None:
    a, b, c = (row_digests({"x": np.array([v])}, np.zeros(1, int)) for v in (1.2341, 1.23412, 1.24))
    assert known(b.alike, a.alike).all()
    assert not known(b.copies, a.copies).any()
    assert not known(c.alike, a.alike).any()


def test_a_file_of_digests_is_read_back_whole_and_nothing_else_is_taken_for_one() -> None:
    made = row_digests({"x": np.arange(5)}, np.arange(5))
    again = of_arrays(seen_rows({"train": made, "validation": made}))
    assert len(again) == 10
    for wrong in ({}, {"train.copies": made.copies}, {"a.copies": made.copies[:, :3], "a.alike": made.alike}):
        with pytest.raises(ValueError, match="wanted"):
            of_arrays(wrong)
