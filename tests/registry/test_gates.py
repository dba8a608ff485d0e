from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from benchmarks.gates import rates
from registry.gates import Champion, GateRules, NotWorse, binomial_tail, judge, not_worse, paired_interval, rival
from registry.weighing import MeasuredRules, OverlapRule
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


def test_everybody_but_the_champion_itself_has_to_stand_up_to_the_champion() -> None:
    assert rival(CHAMPION, 3) == CHAMPION
    assert rival(CHAMPION, 2) is None
    assert rival(None, 3) is None


def test_what_equals_its_limit_passes() -> None:
    rules = GateRules(floors={"accuracy": 0.9}, ceilings={"error": 0.1}, not_worse=None)
    found = judge((Measure("accuracy", 0.9), Measure("error", 0.1)), None, rules, None)
    assert [(v.gate, v.outcome, v.found, v.wanted) for v in found] == [
        ("accuracy", Outcome.PASSED, 0.9, 0.9), ("error", Outcome.PASSED, 0.1, 0.1),
    ]  # fmt: skip


def test_limits_on_numbers_are_for_models_of_numbers_and_all_are_where_nothing_was_measured() -> None:
    numbers = tuple(Measure(name, 0.5) for name in ("mae", "r2", "rmse"))
    limits = {"accuracy": 0.1, "mae": 0.1, "r2": 0.1, "rmse": 0.1}
    for rules in (GateRules(floors=limits, ceilings={}, not_worse=None),
                  GateRules(floors={}, ceilings=limits, not_worse=None)):  # fmt: skip
        assert [v.gate for v in judge(numbers, None, rules, None)] == ["mae", "r2", "rmse"]
        assert [v.gate for v in judge((*numbers, Measure("max", 1)), None, rules, None)] == ["mae", "r2", "rmse"]
        assert [v.gate for v in judge((Measure("accuracy", 0.5),), None, rules, None)] == ["accuracy"]
        assert [v.gate for v in judge((), None, rules, None)] == list(limits)


def test_a_verdict_on_everything_asks_for_the_champion_and_for_what_else_was_measured() -> None:
    rules = GateRules({}, {}, RULE, more=MeasuredRules(overlap=OverlapRule(0.0, 0.1)))
    worse = replace(EVEN, only_candidate=2, only_champion=30)
    assert [(v.gate, v.outcome) for v in judge((), worse, rules, CHAMPION)] == [
        ("not_worse", Outcome.FAILED), ("measured", Outcome.UNKNOWN),
    ]  # fmt: skip


def test_a_champion_whose_digest_nobody_recorded_is_known_by_its_number() -> None:
    assert outcome_of(EVEN, Champion(2, None)) is Outcome.PASSED
    assert outcome_of(EVEN, Champion(3, None)) is Outcome.UNKNOWN


def test_a_drop_of_just_the_margin_passes_and_the_verdict_holds_its_numbers() -> None:
    few = Paired(champion=2, champion_digest="c" * 64, rows=100, only_candidate=0, only_champion=2, left_out=9)
    verdict = not_worse(few, CHAMPION, RULE)
    assert (verdict.outcome, verdict.found, verdict.wanted) == (Outcome.PASSED, -0.02, -0.02)
    assert verdict.interval == paired_interval(0, 2, 100)
    assert "on the 100 rows it did not train on" in verdict.reason
    assert "did not train on" not in not_worse(EVEN, CHAMPION, RULE).reason


@pytest.mark.parametrize(("candidate", "champion", "told"), [(4, 0, "within noise"), (5, 0, "better (p 0.031)"),
                                                             (0, 4, "within noise"), (0, 5, "worse (p 0.031)")])
def test_what_is_just_as_likely_as_the_significance_is_noise(candidate: int, champion: int, told: str) -> None:
    sixteenth = NotWorse(margin=0.02, significance=1 / 16)
    paired = replace(EVEN, only_candidate=candidate, only_champion=champion)
    verdict = not_worse(paired, CHAMPION, sixteenth)
    assert verdict.reason.endswith(told)
    assert (verdict.outcome is Outcome.FAILED) == told.startswith("worse")


@pytest.mark.parametrize(
    ("relative", "wanted", "told"),
    [
        ((0.10, 0.01, 0.20), Outcome.PASSED, "smaller"),
        ((0.10, 0.00, 0.20), Outcome.PASSED, "within noise"),
        ((-0.05, -0.20, 0.10), Outcome.PASSED, "within noise"),
        ((-0.02, -0.04, 0.00), Outcome.PASSED, "within noise"),
        ((-0.02, -0.04, -0.001), Outcome.FAILED, "larger beyond noise"),
        ((-0.051, -0.20, 0.10), Outcome.FAILED, "beyond the margin 5%"),
    ],
)
def test_of_numbers_the_error_may_grow_within_noise_and_margin(
    relative: tuple[float, float, float], wanted: Outcome, told: str
) -> None:
    verdict = not_worse(replace(EVEN, relative=relative), CHAMPION, RULE)
    assert (verdict.gate, verdict.outcome, verdict.reason.rpartition(": ")[2]) == ("not_worse", wanted, told)
    assert (verdict.found, verdict.wanted, verdict.interval) == (relative[0], -0.05, relative[1:])


def test_the_interval_is_agrestis_and_mins() -> None:
    # By hand: (10.5 - 20.5) / 102 -+ 1.959964 sqrt(31 - 10^2 / 102) / 102
    assert paired_interval(10, 20, 100) == pytest.approx((-0.203320, 0.007241), abs=1e-6)
    assert paired_interval(0, 100, 100)[0] == -1
    assert paired_interval(100, 0, 100)[1] == 1


def test_whoever_is_as_good_is_not_worse_however_much_significance_is_asked() -> None:
    assert not_worse(EVEN, CHAMPION, NotWorse(margin=0.02, significance=0.9)).outcome is Outcome.PASSED
