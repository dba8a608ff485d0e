from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from benchmarks.gates import rates
from registry.gates import Champion, GateRules, NotWorse, binomial_tail, judge, not_worse, paired_interval
from registry.words import Measure, Outcome, Paired

RULE = NotWorse(margin=0.02, significance=0.05)
CHAMPION = Champion(2, "c" * 64)
EVEN = Paired(champion=2, champion_digest="c" * 64, rows=1000, only_candidate=10, only_champion=10)


def outcome_of(paired: Paired | None, champion: Champion | None = CHAMPION) -> Outcome:
    return not_worse(paired, champion, RULE).outcome


def test_a_measure_below_its_floor_fails_and_says_the_numbers() -> None:
    rules = GateRules(floors={"accuracy": 0.9}, ceilings={}, not_worse=None)
    (verdict,) = judge((Measure("accuracy", 0.887),), None, rules, None)
    assert (verdict.outcome, verdict.reason) == (Outcome.FAILED, "accuracy 0.887 < 0.900")


def test_a_measure_that_nobody_took_is_unknown() -> None:
    rules = GateRules(floors={"accuracy": 0.9}, ceilings={"error": 0.1}, not_worse=None)
    assert [verdict.outcome for verdict in judge((), None, rules, None)] == [Outcome.UNKNOWN, Outcome.UNKNOWN]


def test_a_measure_above_its_ceiling_fails() -> None:
    rules = GateRules(floors={}, ceilings={"error": 0.1}, not_worse=None)
    (verdict,) = judge((Measure("error", 0.11),), None, rules, None)
    assert verdict.outcome is Outcome.FAILED


def test_a_file_that_may_run_code_when_loaded_fails_wherever_it_lies() -> None:
    rules = GateRules(floors={}, ceilings={}, not_worse=None, forbidden_files=("*.pkl",))
    (good,), (bad,), (none,) = (judge((), None, rules, None, f) for f in (["MLmodel"], ["MLmodel", "a/b.PKL"], []))
    assert (good.outcome, bad.outcome, none.outcome) == (Outcome.PASSED, Outcome.FAILED, Outcome.UNKNOWN)
    assert "a/b.PKL" in bad.reason


def test_no_champion_is_a_pass_that_says_so() -> None:
    verdict = not_worse(None, None, RULE)
    assert (verdict.outcome, verdict.reason) == (Outcome.PASSED, "no champion to compare with")


def test_no_comparison_with_the_champion_is_unknown() -> None:
    assert outcome_of(None) is Outcome.UNKNOWN


def test_a_comparison_with_yesterdays_champion_is_unknown() -> None:
    assert outcome_of(replace(EVEN, champion=1)) is Outcome.UNKNOWN
    assert outcome_of(replace(EVEN, champion_digest="d" * 64)) is Outcome.UNKNOWN


def test_a_difference_within_noise_passes_and_is_called_so() -> None:
    verdict = not_worse(replace(EVEN, only_champion=15), CHAMPION, RULE)
    assert verdict.outcome is Outcome.PASSED
    assert verdict.reason.endswith("within noise")


def test_a_significant_drop_fails_even_within_the_margin() -> None:
    assert outcome_of(replace(EVEN, only_candidate=2, only_champion=15)) is Outcome.FAILED


def test_a_drop_beyond_the_margin_fails_even_when_noise_could_explain_it() -> None:
    few = Paired(champion=2, champion_digest="c" * 64, rows=20, only_candidate=1, only_champion=2)
    assert outcome_of(few) is Outcome.FAILED


def test_better_is_claimed_only_beyond_noise() -> None:
    verdict = not_worse(replace(EVEN, only_candidate=40), CHAMPION, RULE)
    assert verdict.outcome is Outcome.PASSED
    assert "better" in verdict.reason


@pytest.mark.parametrize(("rows", "disagree"), [(100, 0.2), (1000, 0.05), (5000, 0.2)])
def test_between_equals_a_difference_is_claimed_at_most_one_time_in_twenty(rows: int, disagree: float) -> None:
    same = rates(0.0, draws=1500, rows=rows, disagree=disagree)
    assert max(same.values()) <= 0.06, "0.05, and the noise of 1,500 draws"


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_exact_tail_is_scipys(a: int, b: int) -> None:
    if a + b == 0:
        assert binomial_tail(0, 0) == 1
    else:
        assert binomial_tail(a, a + b) == pytest.approx(binomtest(a, a + b, 0.5, alternative="greater").pvalue)


@given(st.integers(0, 50), st.integers(0, 50), st.integers(100, 1000))
def test_the_interval_holds_the_difference_and_mirrors(b: int, c: int, rows: int) -> None:
    low, high = paired_interval(b, c, rows)
    assert -1 <= low <= (b - c) / rows + 1e-9
    assert (b - c) / rows - 1e-9 <= high <= 1
    assert paired_interval(c, b, rows) == pytest.approx((-high, -low))
