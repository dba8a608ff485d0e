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
from enum import Enum

# The worse rates that are tried: so many times the odds of the rate put up with.
ODDS = (1.5, 2.0, 3.0, 5.0, 10.0, 30.0)


class Judgement(Enum):
    """What follows from what was seen?"""

    GO_ON = "go on"
    WAIT = "wait"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Limit:
    """Which share of the requests may answer a question with yes?

    Attributes:
        question: ``errors``, ``slow``, ``disagreement``, ``score shift``, ...
        rate: the share put up with, 0 < rate < 1.
    """

    question: str
    rate: float

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"{self.question}: a share put up with lies between 0 and 1, found {self.rate}")


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests were asked about, and how many said yes?"""

    requests: int
    yes: int


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
class Opinion:
    """What follows, and why?"""

    judgement: Judgement
    reason: str


def log_evidence(count: Count, rate: float) -> float:
    """How strongly do these counts speak for a rate above ``rate``? The logarithm of the e-value.

    Args:
        count: requests and how many said yes; order does not matter.
        rate: the share put up with.
    """
    no = count.requests - count.yes
    ratios = []
    for odds in ODDS:
        worse = rate * odds / (1 - rate + rate * odds)
        ratios.append(count.yes * math.log(worse / rate) + no * math.log((1 - worse) / (1 - rate)))
    peak = max(ratios)
    return peak + math.log(sum(math.exp(r - peak) for r in ratios) / len(ratios))


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
    bar = math.log(len(limits) / schedule.alpha)
    broken = [limit for limit in limits if log_evidence(seen[limit.question], limit.rate) >= bar]
    if broken:
        return Opinion(Judgement.BACK, "; ".join(_said(limit, seen[limit.question]) for limit in broken))
    fewest = min((seen[limit.question].requests for limit in limits), default=0)
    if fewest < schedule.least:
        return Opinion(Judgement.WAIT, f"{fewest} of {schedule.least} requests")
    return Opinion(Judgement.GO_ON, f"{fewest} requests within every limit")


def _said(limit: Limit, count: Count) -> str:
    return (f"{limit.question}: {count.yes} of {count.requests} requests ({count.yes / count.requests:.1%}); "
            f"put up with {limit.rate:.1%}")
