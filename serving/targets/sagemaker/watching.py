"""What a shadow answered beside what was served for the same requests, read from what SageMaker captured.

Which captured answer of the shadow belongs to which of the other is told by the request's own bytes, so that nothing
rests on how SageMaker numbers them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from ...aws import Aws
from ...comparing import Answers, Scores, scores_in
from ...traffic import ERRORS, LATENCY, Count, Judgement, Opinion, judge
from . import names
from .steps import Watch
from .trial import CAPTURED

LOOK_EVERY = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Exchange:
    """One captured request, by the SHA-256 of its bytes, and what was predicted; None where nothing was."""

    request: str
    predictions: Scores | None


@dataclass(slots=True)
class Captured:
    """What was captured of one variant since this began to look.

    Attributes:
        bucket, prefix: where it lies.
    """

    bucket: str
    prefix: str
    _read: set[str] = field(default_factory=set)

    def skip(self, aws: Aws) -> None:
        """Leave out what lies there already: it is of an earlier trial."""
        self._read.update(aws.storage.keys(self.bucket, self.prefix))

    def new(self, aws: Aws) -> list[Exchange]:
        """What came since the last look?"""
        keys = [key for key in aws.storage.keys(self.bucket, self.prefix) if key not in self._read]
        self._read.update(keys)
        return [exchange for key in keys for exchange in exchanges(aws.storage.read(self.bucket, key))]


def exchanges(lines: bytes) -> Iterator[Exchange]:
    """Which requests in JSON does one file of captured data hold? What came in another form is left out."""
    for line in lines.splitlines():
        data = json.loads(line)["captureData"]
        asked, said = data.get("endpointInput", {}), data.get("endpointOutput", {})
        if asked.get("encoding") == said.get("encoding") == "JSON":
            yield Exchange(hashlib.sha256(asked["data"].encode()).hexdigest(), scores_in(json.loads(said["data"])))


@dataclass(frozen=True, slots=True)
class Slow:
    """How many requests did each release answer slowly, and how many did the new one answer?"""

    old: int = 0
    new: int = 0
    answered: int = 0

    def since(self, before: Slow) -> Slow:
        """The same without what was counted before."""
        return Slow(max(0, self.old - before.old), max(0, self.new - before.new),
                    max(0, self.answered - before.answered))

    @property
    def count(self) -> Count:
        """Of those that were slow, how many are the new release's?"""
        return Count(self.old + self.new, self.new, self.answered)


@dataclass(slots=True)
class Watching:
    """Looks at a shadow until it is known how it does.

    Attributes:
        step: what is watched, and what is put up with.
        sleep, now: the clock, for tests.
    """

    step: Watch
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _served: dict[str, Scores] = field(default_factory=dict)
    _waiting: list[Exchange] = field(default_factory=list)
    _refused: int = 0  # by the shadow, where an answer was served
    _answers: Answers = field(init=False)
    _before: Slow = Slow()

    def __post_init__(self) -> None:
        self._answers = Answers(self.step.limits.score_step, self.step.limits.score_bias)

    def opinion(self, aws: Aws) -> Opinion:
        """May the release take over, or must the old one go on alone? Waits until that is known, or patience ends."""
        limits, began = self.step.limits, self.now()
        served, shadow = self._captured(names.VARIANT), self._captured(names.SHADOW)
        served.skip(aws)
        shadow.skip(aws)
        self._before = self._slow(aws, began)  # CloudWatch counts by the minute: what this one held already
        while True:
            self._pair(served.new(aws), shadow.new(aws))
            opinion = judge(limits.limits(), self._counts(aws, began), limits.schedule)
            if opinion.judgement is not Judgement.WAIT:
                return opinion
            if (self.now() - began).total_seconds() >= limits.patience:
                return Opinion(Judgement.WAIT, f"only {opinion.reason} came in {limits.patience} s", opinion.judged)
            self.sleep(LOOK_EVERY)

    def _captured(self, variant: str) -> Captured:
        return Captured(self.step.bucket, f"{CAPTURED}/{self.step.config}/{self.step.endpoint}/{variant}/")

    def _pair(self, served: list[Exchange], shadow: list[Exchange]) -> None:
        """Compare what both answered; one that waits for its pair is kept."""
        self._served |= {one.request: one.predictions for one in served if one.predictions is not None}
        candidates, self._waiting = [*self._waiting, *shadow], []
        for one in candidates:
            if (was := self._served.get(one.request)) is None:
                self._waiting.append(one)
            elif one.predictions is None:
                self._refused += 1
            else:
                self._answers.add(was, one.predictions)

    def _counts(self, aws: Aws, since: datetime) -> dict[str, Count]:
        requests, failed = aws.metrics.variant(self.step.endpoint, names.SHADOW, since)
        return {ERRORS: Count(max(requests, failed + self._refused), failed + self._refused),
                LATENCY: self._slow(aws, since).since(self._before).count, **self._answers.counts()}

    def _slow(self, aws: Aws, since: datetime) -> Slow:
        """How many were slow since the minute that this moment is in? What a CloudWatch that is late leaves out of the
        old release's speaks for the new one, never against it."""
        limits, endpoint = self.step.limits, self.step.endpoint
        if limits.slow_ms is None:
            return Slow()
        _, old = aws.metrics.slower(endpoint, names.VARIANT, limits.slow_ms, since)
        answered, new = aws.metrics.slower(endpoint, names.SHADOW, limits.bar_ms, since)
        return Slow(old, new, answered)
