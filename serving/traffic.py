"""Is the new version as good as the old one, judged while its share of the traffic grows? Pure.

Everything that is watched is a question with a yes or a no for each request: did it fail, was it slow, did the two
versions name different labels, did their scores differ by much? Of each there may be a share that is put up with. A
rate above that is found by a test that may be looked at after every request without being wrong more often than it
promises: an e-process, the average of likelihood ratios against a grid of worse rates. While the true rate is at most
the one put up with, its expected value never exceeds 1, so by Ville's inequality (J. Ville, 1939; for the use here see
A. Ramdas et al., "Game-theoretic statistics and safe anytime-valid inference", Statistical Science 38, 2023) it ever
reaches 1/alpha with probability at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, StrEnum
from functools import lru_cache

ERRORS, LATENCY, TAIL = "errors", "latency", "tail latency"
DISAGREEMENT, SHIFT, BIAS = "disagreement", "score shift", "score bias"
HALF = 0.5  # of two versions that are as good, either is as often the worse one
# The worse rates that are tried: so many times the odds of the rate put up with.
ODDS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
LARGEST = 700.0  # exp() of more is no float


class Judgement(Enum):
    """What follows from what was seen?"""

    GO_ON = "go on"
    WAIT = "wait"
    BACK = "back"


class Verdict(StrEnum):
    """What does one test say so far?"""

    WITHIN = "within the limit"
    BROKEN = "broken"
    FEW = "too few requests"


@dataclass(frozen=True, slots=True)
class Limit:
    """Which share of the requests may answer a question with yes?

    Attributes:
        question: ``errors``, ``latency``, ``disagreement``, ``score shift``, ...
        rate: the share put up with, 0 < rate < 1.
        yes: what a yes means, for a reader, where the question's name does not say it.
    """

    question: str
    rate: float
    yes: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"{self.question}: a share put up with lies between 0 and 1, found {self.rate}")


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests were asked about, and how many said yes?

    Attributes:
        looked: how many were looked at to find those that can be asked about; 0 when all can.
    """

    requests: int
    yes: int
    looked: int = 0

    @property
    def seen(self) -> int:
        """How many requests does this rest on?"""
        return max(self.requests, self.looked)


@dataclass(frozen=True, slots=True)
class Schedule:
    """How does the new version's share grow?

    Attributes:
        shares: rising, each in (0, 1], the last is 1.
        least: requests that the new version must have answered before its share grows.
        alpha: the probability of sending back a version that keeps within every limit.
    """

    shares: tuple[float, ...] = (0.1, 0.5, 1.0)
    least: int = 100
    alpha: float = 0.01

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in zip(self.shares, self.shares[1:], strict=False))
        if not self.shares or not rising or self.shares[0] <= 0 or self.shares[-1] != 1:
            raise ValueError(f"shares must rise to 1, found {self.shares}")
        if not 0 < self.alpha < 1 or self.least < 1:
            raise ValueError(f"wanted 0 < alpha < 1 and least >= 1, found {self.alpha} and {self.least}")


@dataclass(frozen=True, slots=True)
class Judged:
    """What did one test see, against what, and what does it say?

    Attributes:
        test: its question, or an alarm's name.
        seen, limit: for a reader.
        requests, yes, rate: the same in numbers; 0 where somebody else counted.
        evidence: the e-value: by so much is what was seen likelier under a worse rate than under the limit.
        needed: the e-value at which the limit counts as broken.
    """

    test: str
    seen: str
    limit: str
    verdict: Verdict
    requests: int = 0
    yes: int = 0
    rate: float = 0.0
    evidence: float = 0.0
    needed: float = 0.0

    def lines(self) -> tuple[str, str]:
        """What was seen, and against what, for a reader?"""
        if not self.needed:
            return self.seen, f"fires at {self.limit}"
        return self.seen, f"put up with {self.limit}, evidence {self.evidence:.2g} of {self.needed:.0f}"


@dataclass(frozen=True, slots=True)
class Opinion:
    """What follows, and why? ``judged`` tells it test by test."""

    judgement: Judgement
    reason: str
    judged: tuple[Judged, ...] = ()


def log_evidence(count: Count, rate: float) -> float:
    """How strongly do these counts speak for a rate above ``rate``? The logarithm of the e-value.

    Args:
        count: requests and how many said yes; order does not matter.
        rate: the share put up with.
    """
    no = count.requests - count.yes
    ratios = [count.yes * up + no * down for up, down in _ratios(rate)]
    peak = max(ratios)
    return peak + math.log(sum(math.exp(r - peak) for r in ratios) / len(ratios))


@lru_cache
def _ratios(rate: float) -> tuple[tuple[float, float], ...]:
    """By how much does a yes, and a no, speak for each of the worse rates?"""
    worse = [rate * odds / (1 - rate + rate * odds) for odds in ODDS]
    return tuple((math.log(w / rate), math.log((1 - w) / (1 - rate))) for w in worse)


def judge(limits: Sequence[Limit], seen: Mapping[str, Count], schedule: Schedule) -> Opinion:
    """May the new version's share grow, must it wait for more traffic, or must it go back?

    The promised alpha is shared by the limits, so that it holds for all of them together.

    Args:
        limits: what is put up with.
        seen: for each question, all that was seen of the new version since its first request.
        schedule: the least number of requests, and alpha.

    Raises:
        KeyError: a question was not asked: what is not known is not a pass.
    """
    judged = tuple(_judged(limit, seen[limit.question], schedule, len(limits)) for limit in limits)
    if broken := [one for one in judged if one.verdict is Verdict.BROKEN]:
        reason = "; ".join(f"{one.test}: {one.seen}; put up with {one.limit}" for one in broken)
        return Opinion(Judgement.BACK, reason, judged)
    fewest = min((seen[limit.question].seen for limit in limits), default=0)
    if fewest < schedule.least:
        slowest = [limit.question for limit in limits if seen[limit.question].seen == fewest]
        named = f" ({', '.join(slowest)})" if len(slowest) < len(limits) else ""
        return Opinion(Judgement.WAIT, f"{fewest} of {schedule.least} requests{named}", judged)
    return Opinion(Judgement.GO_ON, f"{fewest} requests within every limit", judged)


def _judged(limit: Limit, count: Count, schedule: Schedule, tests: int) -> Judged:
    evidence, bar = log_evidence(count, limit.rate), math.log(tests / schedule.alpha)
    verdict = (Verdict.BROKEN if evidence >= bar else Verdict.FEW if count.seen < schedule.least else Verdict.WITHIN)
    share = f" ({count.yes / count.requests:.1%})" if count.requests else ""
    seen = f"{count.yes} of {count.requests} requests{f' {limit.yes}' if limit.yes else ''}{share}"
    return Judged(limit.question, seen, f"{limit.rate:.1%}", verdict, count.requests, count.yes, limit.rate,
                  math.exp(min(evidence, LARGEST)), tests / schedule.alpha)
