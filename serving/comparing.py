"""How do two versions compare on the same requests: which of them say yes to what a canary asks? Pure.

Every question here is so made that, while the new version keeps within what is put up with, a request says yes with at
most the probability of its limit, whatever came before; `serving.traffic` judges the counts. So nothing has to be known
of how times or scores are spread, and what is learnt from earlier requests (a 95th percentile, a direction) may be used
for the next one.

Times. With x of the old version and y of the new one, y is first made shorter by what is put up with:
``y' = min(y / ratio, y - least)``.

- ``latency``: is y' > x? Of versions equally fast at most half of the pairs say so, also where x and y are of different
  requests drawn alike (the sign test: W. J. Dixon and A. M. Mood, "The statistical sign test", JASA 41, 1946).
- ``tail latency``: among pairs of which exactly one is above the 95th percentile of the old version's times so far, is
  it y'? At most half, while y' is above it no oftener than x is (Q. McNemar, "Note on the sampling error of the
  difference between correlated proportions", Psychometrika 12, 1947). It finds what a median does not see: a few that
  take long.

Without pairs, where nothing is told but how many of each version's requests took longer than a bar, y' and x behind it:
``latency`` is then, of all that took longer, is it one of the new version's? (`share_of_slow`).

Scores. ``disagreement``: another label? ``score shift``: a score further away than a step? ``score bias``: with d the
mean difference so far, did this request's scores move along d by more than a share of the old scores' standard
deviation along d? At most half do, while no direction is preferred by more than that. It finds a small move of all
scores, which no single request shows; that d is fixed before the request it is used for makes one test do for all
directions.
"""

from __future__ import annotations

import math
from bisect import insort
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from .traffic import BIAS, DISAGREEMENT, HALF, LATENCY, SHIFT, TAIL, Count

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

TAIL_QUANTILE = 0.95
SIGMAS = 3.0  # a standard deviation of n requests is itself unsure by 1/sqrt(2n) of it, of a normal distribution
LEARN = 20  # requests from which percentile, direction and deviation are learnt before the first one is asked about
Scores: TypeAlias = "NDArray[np.float64]"


@dataclass(slots=True)
class Times:
    """Pairs of times, one of each version, in milliseconds.

    Attributes:
        ratio: so many times the old version's time is put up with.
        least: and so many milliseconds more, whatever the ratio.
    """

    ratio: float
    least: float = 0.0
    old: list[float] = field(default_factory=list)
    new: list[float] = field(default_factory=list)
    _slower: int = 0
    _above: dict[str, int] = field(default_factory=lambda: {"old": 0, "new": 0})

    def add(self, old: float, new: float) -> None:
        """Another pair; ``old`` and ``new`` are kept in order of size."""
        eased = min(new / self.ratio, new - self.least)
        self._slower += eased > old
        if len(self.old) >= LEARN:
            bar = quantile(self.old, TAIL_QUANTILE)
            if (eased > bar) != (old > bar):
                self._above["new" if eased > bar else "old"] += 1
        insort(self.old, old)
        insort(self.new, new)

    def counts(self) -> dict[str, Count]:
        """What was answered to the two questions about times?"""
        pairs, above = len(self.old), self._above
        return {LATENCY: Count(pairs, self._slower), TAIL: Count(sum(above.values()), above["new"], pairs)}

    def said(self) -> str:
        """How long did both take, for a reader?"""
        if not self.new:
            return ""
        new, old = ([quantile(times, q) for q in (HALF, TAIL_QUANTILE)] for times in (self.new, self.old))
        return f"median {new[0]:.1f} ms (old {old[0]:.1f}), p95 {new[1]:.1f} ms (old {old[1]:.1f})"


def eased(milliseconds: float, ratio: float, least: float) -> float:
    """How long may the new version take where the old one takes this? ``y' > x`` says the same as ``y >`` this."""
    return max(milliseconds * ratio, milliseconds + least)


def share_of_slow(copied: float) -> float:
    """Of requests that took long, which share are at most those of a version that gets copies of so many of them?

    At most ``copied / (1 + copied)``, while the new version is slow no oftener than the old one, whatever came before
    and however often both are slow at the same request. With w the worse rate of `serving.traffic` and r this one, a
    request multiplies the evidence by b = w/r where the new version is slow, and by a = (1-w)/(1-r) where the old one
    is. Let p of the requests be slow at the old one, q at the new one, s at both. The expected factor is
    1 + p(a-1) + copied*q(b-1) + s(a-1)(b-1). Its last term is not above 0, as a <= 1 <= b; the two before it are
    (w-r)(1+copied)(q-p), not above 0 while q <= p.
    """
    return copied / (1 + copied)


def quantile(ordered: list[float], share: float) -> float:
    """Which of these, ordered by size, has this share of them at or below it?"""
    return ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))]


@dataclass(slots=True)
class _Spread:
    """What is known of the scores so far: how they lie, and how they moved.

    By B. P. Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4, 1962.
    """

    requests: int
    mean: Scores
    squares: Scores
    moved: Scores

    def add(self, was: Scores, moved: Scores) -> None:
        self.requests += 1
        before = was - self.mean
        self.mean = self.mean + before / self.requests
        self.squares = self.squares + before[:, None] * (was - self.mean)
        self.moved = self.moved + moved

    def along(self, moved: Scores) -> float:
        """How far do these scores move along what all moved along, in standard deviations? 0 where none moved.

        The deviation is taken at the upper end of what it may be: of few requests it is known badly, and one taken too
        low would find every one of them beyond the limit at once.
        """
        length = math.sqrt(float(self.moved @ self.moved))
        if not length:
            return 0.0
        direction = self.moved / length
        variance = float(direction @ self.squares @ direction) / self.requests
        far, unsure = float(moved @ direction), 1 + SIGMAS / math.sqrt(2 * self.requests)
        return far / (math.sqrt(variance) * unsure) if variance > 0 else math.copysign(math.inf, far) if far else 0.0


@dataclass(slots=True)
class Answers:
    """Pairs of answers to the same request, each an array of scores, a row for each instance.

    Attributes:
        step: what counts as another score.
        bias: so many of the old scores' standard deviations may most scores move to the same side.
    """

    step: float
    bias: float
    _pairs: int = 0
    _asked: int = 0
    _yes: dict[str, int] = field(default_factory=lambda: {DISAGREEMENT: 0, SHIFT: 0, BIAS: 0})
    _spread: _Spread | None = None

    def add(self, old: NDArray[Any], new: NDArray[Any]) -> None:
        """Another pair. Scores of another number are other labels and other scores."""
        import numpy as np

        alike = old.shape == new.shape
        self._pairs += 1
        self._yes[DISAGREEMENT] += not alike or bool((labels(old) != labels(new)).any())
        self._yes[SHIFT] += not alike or bool(np.abs(old - new).max() > self.step)
        if alike:
            width = old.shape[-1] if old.ndim > 1 else 1
            was, moved = old.reshape(-1, width), (new - old).reshape(-1, width)
            self._learn(was.sum(axis=0) / len(was), moved.sum(axis=0) / len(moved))

    def _learn(self, was: Scores, moved: Scores) -> None:
        import numpy as np

        if self._spread is None:
            self._spread = _Spread(0, np.zeros_like(was), np.zeros((was.size, was.size)), np.zeros_like(was))
        if self._spread.requests >= LEARN:
            self._asked += 1
            self._yes[BIAS] += self._spread.along(moved) > self.bias
        self._spread.add(was, moved)

    def counts(self) -> dict[str, Count]:
        """What was answered to the three questions about answers?"""
        return {question: Count(self._asked if question == BIAS else self._pairs, yes, self._pairs)
                for question, yes in self._yes.items()}


def scores_in(answer: Any) -> Scores | None:
    """What was predicted in a parsed answer? None where nothing was."""
    import numpy as np

    if not isinstance(answer, dict) or "predictions" not in answer:
        return None
    return np.asarray(answer["predictions"], dtype=np.float64)


def labels(predictions: NDArray[Any]) -> NDArray[Any]:
    """Which label does each row name? Of a single score, the number that it rounds to."""
    return predictions.argmax(-1) if predictions.ndim > 1 and predictions.shape[-1] > 1 else predictions.round()


@dataclass(slots=True)
class Meanwhile:
    """Callers' requests, each answered by one version: pairs of one of each that came at about the same time.

    A request to the version that gets fewer of them waits for the next one to the other version, in the order in which
    they came. So a pair is settled the moment its second request comes, and nobody's time has a say in it: the nearest
    one in either direction would have. Callers that ask again once they have their answer leave less time between two
    requests where the first was quick, so that the nearest is one that was quick; of a single such caller, a tenth of
    whose requests go to an equal version, 62 % of the new version's were then the longer ones.

    What is still under way is not known yet. So that no longer request is missed where a shorter one is known, none is
    looked at that came within the longest time so far of the last thing known.
    """

    _known: list[tuple[float, float, bool]] = field(default_factory=list)  # when it came, its time, whether it is new
    _waiting: list[float] = field(default_factory=list)
    _fewer: bool = True  # whether those that wait are the new version's
    _longest: float = 0.0

    def add(
        self, *, old: list[tuple[float, float]], new: list[tuple[float, float]], share: float = 0.0
    ) -> list[tuple[float, float]]:
        """Which pairs of milliseconds, old and new, are there now?

        Args:
            old, new: when each request of a version came, in seconds, and the milliseconds that it took.
            share: of the requests, that the new version gets.
        """
        if (share <= HALF) != self._fewer:
            self._fewer, self._waiting = share <= HALF, []
        found = [(at, took, which) for times, which in ((old, False), (new, True)) for at, took in times]
        self._known = sorted([*self._known, *found])
        self._longest = max([self._longest, *(took for _, took, _ in found)])
        last = max((at + took / 1000 for at, took, _ in self._known), default=0.0) - self._longest / 1000
        ready = [one for one in self._known if one[0] <= last]
        self._known = self._known[len(ready):]
        return [pair for _, took, which in ready if (pair := self._pair(took, which))]

    def _pair(self, took: float, which: bool) -> tuple[float, float] | None:
        if which == self._fewer:
            self._waiting.append(took)
            return None
        if not self._waiting:
            return None
        waited = self._waiting.pop(0)
        return (took, waited) if self._fewer else (waited, took)
