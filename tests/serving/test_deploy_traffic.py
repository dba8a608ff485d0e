"""The judge of a canary: what it promises holds, and what is worse is found."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.traffic import Count, Judged, Judgement, Limit, Schedule, Verdict, judge, log_evidence

LIMITS = (Limit("errors", 0.01), Limit("disagreement", 0.05))


def sent_back(rate: float, limit: float, *, requests: int, runs: int, seed: int) -> float:
    """The share of canaries sent back when it is looked at after every single request."""
    rng = np.random.default_rng(seed)
    bar, back = math.log(1 / 0.01), 0
    for _ in range(runs):
        yes = np.cumsum(rng.random(requests) < rate)
        back += any(log_evidence(Count(n, int(yes[n - 1])), limit) >= bar for n in range(1, requests + 1, 5))
    return back / runs


def test_a_version_at_its_limit_is_sent_back_at_most_as_often_as_promised() -> None:
    assert sent_back(0.05, 0.05, requests=1000, runs=300, seed=1) <= 0.02  # 0.01, and three standard errors of 300 runs


def test_a_version_far_beyond_its_limit_is_sent_back_nearly_always() -> None:
    assert sent_back(0.20, 0.05, requests=300, runs=100, seed=2) >= 0.99


@given(yes=st.integers(0, 500), no=st.integers(0, 500), rate=st.floats(0.001, 0.5))
def test_another_bad_answer_never_speaks_for_a_version(yes: int, no: int, rate: float) -> None:
    assert log_evidence(Count(yes + no + 1, yes + 1), rate) > log_evidence(Count(yes + no + 1, yes), rate)


@given(rate=st.floats(0.001, 0.9), requests=st.integers(1, 60))
def test_the_expected_evidence_at_the_limit_is_one(rate: float, requests: int) -> None:
    expected = sum(
        math.comb(requests, yes) * rate**yes * (1 - rate) ** (requests - yes)
        * math.exp(log_evidence(Count(requests, yes), rate)) for yes in range(requests + 1))
    assert expected == pytest.approx(1, rel=1e-6)


def test_too_little_traffic_waits() -> None:
    opinion = judge(LIMITS, {"errors": Count(99, 0), "disagreement": Count(99, 0)}, Schedule())
    assert (opinion.judgement, opinion.reason) == (Judgement.WAIT, "99 of 100 requests")


def test_enough_good_traffic_goes_on() -> None:
    seen = {"errors": Count(100, 1), "disagreement": Count(100, 4)}
    assert judge(LIMITS, seen, Schedule()).judgement is Judgement.GO_ON


def test_a_breach_goes_back_at_once_with_its_numbers() -> None:
    opinion = judge(LIMITS, {"errors": Count(20, 8), "disagreement": Count(20, 0)}, Schedule())
    assert opinion.judgement is Judgement.BACK
    assert opinion.reason == "errors: 8 of 20 requests (40.0%); put up with 1.0%"


def test_each_test_tells_what_it_saw_against_what_and_its_verdict() -> None:
    limits = (Limit("errors", 0.01), Limit("latency", 0.5, "over 1.25 times the old version's"))
    judged = judge(limits, {"errors": Count(120, 1), "latency": Count(30, 28)}, Schedule()).judged
    assert [(one.test, one.verdict, one.requests, one.yes, one.needed) for one in judged] == [
        ("errors", Verdict.WITHIN, 120, 1, 200), ("latency", Verdict.BROKEN, 30, 28, 200)]
    assert judged[0].lines() == ("1 of 120 requests (0.8%)", "put up with 1.0%, evidence 0.29 of 200")
    assert judged[1].lines() == ("28 of 30 requests over 1.25 times the old version's (93.3%)",
                                 "put up with 50.0%, evidence 2.1e+05 of 200")


def test_a_test_with_fewer_requests_than_the_others_is_named_while_it_waits() -> None:
    opinion = judge(LIMITS, {"errors": Count(150, 0), "disagreement": Count(40, 0)}, Schedule())
    assert (opinion.judgement, opinion.reason) == (Judgement.WAIT, "40 of 100 requests (disagreement)")
    assert [one.verdict for one in opinion.judged] == [Verdict.WITHIN, Verdict.FEW]


def test_a_question_asked_of_a_few_rests_on_all_that_were_looked_at() -> None:
    seen = {"errors": Count(100, 0), "disagreement": Count(3, 0, looked=100)}
    assert judge(LIMITS, seen, Schedule()).judgement is Judgement.GO_ON


def test_a_question_that_was_not_asked_is_not_a_pass() -> None:
    with pytest.raises(KeyError):
        judge(LIMITS, {"errors": Count(200, 0)}, Schedule())


@pytest.mark.parametrize("wrong", [{"shares": (0.5, 0.4, 1.0)}, {"shares": (0.1, 0.5)}, {"shares": (0.0, 1.0)},
                                   {"shares": (0.1, 0.1, 1.0)}, {"shares": ()}, {"alpha": 0.0}, {"alpha": 1.0},
                                   {"least": 0}])
def test_a_schedule_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="found"):
        Schedule(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_a_schedule_may_ask_for_one_request_and_one_step() -> None:
    assert Schedule(shares=(1.0,), least=1, alpha=0.999).shares == (1.0,)


@pytest.mark.parametrize("rate", [0.0, 1.0, -0.1])
def test_a_limit_that_nothing_can_break_or_keep_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=f"between 0 and 1, found {rate}"):
        Limit("errors", rate)


def test_where_nothing_is_watched_nothing_goes_on() -> None:
    opinion = judge((), {}, Schedule())
    assert (opinion.judgement, opinion.reason) == (Judgement.WAIT, "0 of 100 requests")


def test_evidence_that_just_reaches_what_is_needed_breaks_the_limit() -> None:
    count, rate = Count(30, 6), 0.05
    needed = math.exp(log_evidence(count, rate))
    for alpha, verdict in ((1 / needed * (1 - 1e-12), Verdict.FEW), (1 / needed * (1 + 1e-12), Verdict.BROKEN)):
        (one,) = judge((Limit("errors", rate),), {"errors": count}, Schedule(alpha=alpha)).judged
        assert one.verdict is verdict


def test_as_many_requests_as_are_asked_for_are_enough_for_each_test() -> None:
    opinion = judge(LIMITS, {"errors": Count(100, 0), "disagreement": Count(100, 0)}, Schedule())
    assert [one.verdict for one in opinion.judged] == [Verdict.WITHIN, Verdict.WITHIN]


def test_an_alarm_is_told_as_what_it_is() -> None:
    assert Judged("an alarm", "2 errors", "1 error", Verdict.BROKEN).lines() == ("2 errors", "fires at 1 error")


def test_overwhelming_evidence_is_still_a_number() -> None:
    (one,) = judge((Limit("errors", 0.01),), {"errors": Count(10_000, 10_000)}, Schedule()).judged
    assert one.evidence == math.exp(700)
