"""How two versions compare on the same requests: what a canary asks is answered yes only by what is worse."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from benchmarks.canary import GOOD, Fault, interval, sent_back
from serving.comparing import Answers, Meanwhile, Times, eased, share_of_slow
from serving.config import CanarySettings
from serving.logs import Line, answered, took
from serving.traffic import BIAS, DISAGREEMENT, LATENCY, SHIFT, TAIL, Count, log_evidence

MILLISECONDS = st.floats(0.1, 1000, allow_nan=False)


def times(old: list[float], new: list[float], ratio: float = 1.25, least: float = 0.0) -> dict[str, Count]:
    kept = Times(ratio, least)
    for pair in zip(old, new, strict=True):
        kept.add(*pair)
    return kept.counts()


@given(old=st.lists(MILLISECONDS, min_size=1, max_size=60), ratio=st.floats(1, 3))
def test_what_takes_exactly_what_is_put_up_with_is_not_slower(old: list[float], ratio: float) -> None:
    assert times(old, [one * ratio for one in old], ratio * 1.000001)[LATENCY].yes == 0


@given(old=st.lists(MILLISECONDS, min_size=1, max_size=60))
def test_half_a_millisecond_more_is_not_slower_whatever_the_ratio(old: list[float]) -> None:
    assert times(old, [one + 0.5 for one in old], 1.0, least=1.0)[LATENCY].yes == 0


def test_only_what_one_version_alone_answers_beyond_the_old_percentile_speaks_of_the_tail() -> None:
    old = [1.0] * 30 + [1.0, 50.0, 50.0, 1.0]
    new = [1.0] * 30 + [50.0, 1.0, 50.0, 1.0]
    assert times(old, new)[TAIL] == Count(requests=2, yes=1, looked=34)


def test_a_percentile_is_learnt_before_it_is_used() -> None:
    assert times([1.0] * 19, [50.0] * 19)[TAIL].requests == 0


def answers(old: np.ndarray, new: np.ndarray, bias: float = 0.1) -> dict[str, Count]:
    kept = Answers(step=0.1, bias=bias)
    for one, other in zip(old, new, strict=True):
        kept.add(one[None], other[None])
    return kept.counts()


SCORES = np.random.default_rng(1).dirichlet((1, 1, 1), 200)


@pytest.mark.parametrize("direction", [(1, -1, 0), (-1, 1, 0), (0, -1, 1)])
def test_a_small_move_of_all_scores_is_seen_in_whichever_direction(direction: tuple[int, int, int]) -> None:
    seen = answers(SCORES, SCORES + 0.06 * np.array(direction))
    assert seen[SHIFT].yes == 0, "no single request shows it"
    assert seen[BIAS] == Count(180, seen[BIAS].yes, 200)
    assert seen[BIAS].yes > 150


def test_scores_that_move_to_all_sides_are_no_bias() -> None:
    swing = np.where(np.arange(200)[:, None] % 2 == 0, 0.09, -0.09) * np.array([1, -1, 0])
    assert answers(SCORES, SCORES + swing)[BIAS].yes <= 110


def test_a_bias_has_the_scale_of_the_scores_themselves() -> None:
    degrees = np.random.default_rng(2).normal(20, 5, (200, 1))
    assert answers(degrees, degrees + 0.2)[BIAS].yes == 0
    assert answers(degrees, degrees + 2)[BIAS].yes == 180


def test_another_number_of_scores_is_another_answer() -> None:
    kept = Answers(step=0.1, bias=0.1)
    kept.add(np.array([[0.2, 0.8]]), np.array([[0.2, 0.7, 0.1]]))
    assert (kept.counts()[DISAGREEMENT].yes, kept.counts()[SHIFT].yes) == (1, 1)


def test_a_callers_request_is_compared_with_the_next_one_to_the_other_version() -> None:
    kept = Meanwhile()
    assert kept.add(old=[], new=[(10.0, 7.0)]) == [], "there is nothing to compare with yet"
    assert kept.add(old=[(11.0, 2.0), (30.0, 3.0)], new=[(29.0, 8.0)]) == [(2.0, 7.0)]
    assert kept.add(old=[(31.0, 4.0), (40.0, 5.0)], new=[]) == [(3.0, 8.0)], "each is used once"
    assert kept.add(old=[(50.0, 6.0)], new=[(45.0, 7.0), (60.0, 8.0)], share=0.9) == [(5.0, 7.0), (6.0, 8.0)], "turned"


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 10)), max_size=60), st.floats(0.1, 10), st.integers(1, 60))
@example([(True, 1.0)], 2.0, 1)
def test_how_long_a_request_takes_has_no_say_in_what_it_is_compared_with(
    came: list[tuple[bool, float]], other: float, cut: int
) -> None:
    def paired(times: list[float]) -> list[tuple[int, int]]:
        """By number of the request, whatever is known when; each takes a time of its own, by which it is known."""
        kept, found = Meanwhile(), list[tuple[float, float]]()
        times = [round(took, 3) + number * 1e-6 for number, took in enumerate(times)]
        asked = [(float(number), took, new) for number, ((new, _), took) in enumerate(zip(came, times, strict=True))]
        for part in (asked[:cut], asked[cut:], [(1000.0, 1000.0, False)]):  # the last one has a time of nobody's
            found += kept.add(old=[(at, took) for at, took, new in part if not new],
                              new=[(at, took) for at, took, new in part if new])
        return [(times.index(old), times.index(new)) for old, new in found if old in times]

    assert paired([took for _, took in came]) == paired([other] * len(came))


def test_equal_versions_are_equally_often_the_slower_one_whoever_asks() -> None:
    """A caller who asks again once the answer is there: by the nearest request, the new one was slower in 62 %."""
    rng, pairs = np.random.default_rng(7), list[tuple[float, float]]()
    for _ in range(20):
        kept, at, seen = Meanwhile(), 0.0, list[tuple[float, float, bool]]()
        for number in range(1, 1501):
            took = float(20 * rng.lognormal(0, 0.5))
            seen.append((at, took, bool(rng.random() < 0.1)))
            at += took / 1000
            if number % 50 == 0:
                pairs += kept.add(old=[one[:2] for one in seen if not one[2]], new=[one[:2] for one in seen if one[2]])
                seen.clear()
    slower = sum(new > old for old, new in pairs)
    assert len(pairs) > 2800
    assert abs(slower / len(pairs) - 0.5) < 3 * 0.5 / math.sqrt(len(pairs))


def test_a_request_that_is_not_known_yet_is_waited_for() -> None:
    kept = Meanwhile()
    slow = (1.0, 500.0)
    assert kept.add(old=[(0.0, 600.0), (1.1, 10.0)], new=[(0.9, 20.0)]) == [], "one may be under way since 1.0"
    assert kept.add(old=[slow, (2.0, 10.0)], new=[]) == [(500.0, 20.0)]


def in_json(metrics: dict[str, float]) -> str:
    """What Lambda writes in place of REPORT where the log format is JSON."""
    return json.dumps({"time": "2026-01-02T00:00:00.123Z", "type": "platform.report",
                       "record": {"requestId": "a-1", "metrics": metrics, "status": "success"}})


@pytest.mark.parametrize(("text", "milliseconds", "start"), [
    ("REPORT RequestId: a-1\tDuration: 12.34 ms\tBilled Duration: 13 ms\tMemory Size: 128 MB", 12.34, None),
    ("START\nREPORT RequestId: a-1\tDuration: 2.00 ms\tBilled Duration: 3 ms\tInit Duration: 400.10 ms\t", 2.0, 400.1),
    ("REPORT RequestId: a-1\tDuration: 2.00 ms\tRestore Duration: 90.00 ms\tBilled Restore Duration: 91 ms", 2.0, 90.0),
    (in_json({"durationMs": 12.34, "billedDurationMs": 13}), 12.34, None),
    (f'3Z","record":{{}}}}\n{{"type":"platform.start"}}\n{{"type": 3}}\n[1]\nsaid\n'
     f'{in_json({"durationMs": 2, "initDurationMs": 400.1})}\n', 2.0, 400.1),
    (in_json({"durationMs": 2.0, "restoreDurationMs": 90.0, "billedRestoreDurationMs": 91}), 2.0, 90.0),
])
def test_lambdas_own_report_tells_time_and_start(text: str, milliseconds: float, start: float | None) -> None:
    said = took(text)
    assert said is not None
    assert (said.request, said.milliseconds, said.start) == ("a-1", milliseconds, start)


def test_a_new_environments_first_answer_is_told_apart_and_other_versions_and_our_own_requests_do_not_count() -> None:
    at = datetime(2026, 1, 2, tzinfo=UTC)

    def line(stream: str, request: str, rest: str = "") -> Line:
        said = f"REPORT RequestId: {request}\tDuration: 5.00 ms\t{rest}"
        return Line(at, f"2026/01/02/[{stream}]a1b2", said, request)

    found = answered([line("2", "cold", "\tInit Duration: 300.00 ms"), line("2", "warm"), line("12", "other"),
                      line("2", "probe")], "2", but={"probe"})
    assert (found.times, found.starts) == ([(at.timestamp() - 0.005, 5.0)], [300.0])


SHARE = st.floats(0.05, 1, allow_nan=False)


@given(copied=SHARE, old=SHARE, less=SHARE, together=st.floats(0, 1), slow=st.integers(0, 40), of=st.integers(0, 80))
def test_a_version_that_is_slow_no_oftener_gathers_no_evidence_whatever_both_are_slow_at(
    copied: float, old: float, less: float, together: float, slow: int, of: int
) -> None:
    """The expected evidence after one more request is at most what it was: the law that makes the test one."""
    new, limit = old * less * copied, share_of_slow(copied)
    both = max(0.0, old + new - 1) + together * (min(old, new) - max(0.0, old + new - 1))

    def evidence(more: int, theirs: int) -> float:
        return math.exp(log_evidence(Count(slow + of + more + theirs, slow + more), limit))

    expected = (both * evidence(1, 1) + (new - both) * evidence(1, 0) + (old - both) * evidence(0, 1)
                + (1 - old - new + both) * evidence(0, 0))
    assert expected <= evidence(0, 0) * (1 + 1e-9)


@given(milliseconds=MILLISECONDS, ratio=st.floats(1, 3), least=st.floats(0, 50), bar=MILLISECONDS)
def test_what_is_put_up_with_may_be_added_to_the_bar_or_taken_off_the_time(
    milliseconds: float, ratio: float, least: float, bar: float
) -> None:
    shorter, higher = min(milliseconds / ratio, milliseconds - least), eased(bar, ratio, least)
    if not math.isclose(milliseconds, higher, rel_tol=1e-9):
        assert (shorter > bar) == (milliseconds > higher)


def test_a_log_without_a_report_tells_no_time() -> None:
    assert took("START RequestId: a-1\nEND RequestId: a-1") is None
    assert took('{"type": "platform.report"}\n{"type": "platform.report", "record": {"metrics": {}}}\n7\nnull') is None


def test_times_are_judged_unless_that_is_switched_off() -> None:
    named = [limit.question for limit in CanarySettings().limits(compared=False)]
    assert named == ["errors", LATENCY, TAIL]
    assert [limit.question for limit in CanarySettings(latency_ratio=None).limits(compared=False)] == ["errors"]


@pytest.mark.parametrize(("fault", "test"), [
    (Fault("", slower=2.0), LATENCY), (Fault("", tail=0.3), TAIL), (Fault("", flips=0.3), DISAGREEMENT),
    (Fault("", shift=0.3), BIAS), (Fault("", errors=0.2), "errors")])
def test_what_is_worse_is_sent_back_and_the_right_test_says_so(fault: Fault, test: str) -> None:
    found = sent_back(fault, 400, (1,))
    assert found is not None
    assert found[1] == test


@pytest.mark.parametrize("fault", GOOD[:3], ids=lambda fault: fault.name)
def test_what_is_as_good_takes_over(fault: Fault) -> None:
    assert sent_back(fault, 400, (1,)) is None


def test_an_interval_of_nothing_found_still_allows_for_something() -> None:
    low, high = interval(0, 1000)
    assert (low, round(high, 5)) == (0.0, 0.00368)
