"""A new version beside the old one: shares of the alias, what is seen of both, and the way back at a breach."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ...aws import Aws
from ...config import CanarySettings
from ...errors import AwsConflict, AwsFailed, CanaryFailed
from ...traffic import Count, Judgement, Limit, Opinion, judge
from .steps import Shift

LOOK_EVERY = 5.0  # seconds; CloudWatch sums Lambda's figures by the minute


@dataclass(slots=True)
class Canary:
    """Watches one new version through all of its shares.

    Attributes:
        settings: limits and patience.
        probes: requests that both versions are asked, each once; without any, predictions are not compared.
        sleep, now: the clock, for tests.
    """

    settings: CanarySettings
    probes: Sequence[Any] = ()
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _began: datetime | None = None
    _asked: int = 0
    _seen: dict[str, list[int]] = field(default_factory=dict)

    def run(self, aws: Aws, step: Shift, version: str) -> None:
        """Give the version its share, and return when it may have more.

        Raises:
            CanaryFailed: it did worse than is put up with, or too few requests came; the old version has them all back.
            AwsConflict: somebody else moved the alias.
        """
        self._began = self._began or self.now()
        _share(aws, step, {version: step.share})
        opinion = self._opinion(aws, step, version)
        if opinion.judgement is not Judgement.GO_ON:
            _share(aws, step, {})
            raise CanaryFailed(f"{step.function}:{version} was sent back at {step.share:.0%} of the requests: "
                               f"{opinion.reason}. Version {step.was} has all of them again")

    def _opinion(self, aws: Aws, step: Shift, version: str) -> Opinion:
        limits, schedule = self._limits(), self.settings.schedule
        ends = self.now().timestamp() + self.settings.patience
        self._probe(aws, step, version)
        while True:
            opinion = judge(limits, self._counts(aws, step, version), schedule)
            if opinion.judgement is not Judgement.WAIT:
                return opinion
            if self.now().timestamp() >= ends:
                return Opinion(Judgement.WAIT, f"only {opinion.reason} came in {self.settings.patience:.0f} s")
            self.sleep(LOOK_EVERY)

    def _limits(self) -> list[Limit]:
        chosen = self.settings
        compared = [Limit("disagreement", chosen.disagreement), Limit("score shift", chosen.score_shift)]
        return [Limit("errors", chosen.errors), *(compared if self.probes else ())]

    def _counts(self, aws: Aws, step: Shift, version: str) -> dict[str, Count]:
        assert self._began is not None  # noqa: S101 - run() began
        requests, failed = aws.metrics.answered(step.function, step.alias, version, self._began)
        probed = {limit.question: self._seen.get(limit.question, []) for limit in self._limits()}
        counts = {question: Count(len(answers), sum(answers)) for question, answers in probed.items()}
        errors = counts["errors"]
        return counts | {"errors": Count(requests + errors.requests, failed + errors.yes)}

    def _probe(self, aws: Aws, step: Shift, version: str) -> None:
        """Ask both versions the probes that were not asked yet: as many at each share."""
        part = -(-len(self.probes) // sum(share < 1 for share in self.settings.shares))
        for request in self.probes[self._asked : self._asked + part]:
            body = json.dumps(request).encode()
            old, new = _answer(aws, step.function, step.was, body), _answer(aws, step.function, version, body)
            self._note("errors", new is None)
            if old is not None and new is not None:
                self._note("disagreement", bool((_labels(old) != _labels(new)).any()))
                self._note("score shift", bool(np.abs(old - new).max() > self.settings.score_step))
        self._asked += part

    def _note(self, question: str, yes: bool) -> None:
        self._seen.setdefault(question, []).append(int(yes))


def _share(aws: Aws, step: Shift, shares: dict[str, float]) -> None:
    """Set the alias's shares, and read back that they are set."""
    now = aws.functions.alias(step.function, step.alias)
    if now is None or now.version != step.was:
        raise AwsConflict(f"{step.function}:{step.alias} was moved by somebody else while this ran. "
                          "Next: run the deploy again")
    aws.functions.move_alias(step.function, step.alias, step.was, revision=now.revision, shares=shares)
    after = aws.functions.alias(step.function, step.alias)
    if after is None or (after.version, dict(after.shares)) != (step.was, shares):
        raise AwsFailed(f"{step.function}:{step.alias} does not say what it was set to. Next: slipway status")


def _answer(aws: Aws, function: str, version: str, body: bytes) -> np.ndarray[Any, Any] | None:
    try:
        said = json.loads(aws.functions.invoke(function, version, body))
    except AwsFailed as error:
        if error.code != "FunctionError":
            raise
        return None
    if "predictions" not in said:
        return None
    return np.asarray(said["predictions"], dtype=np.float64)


def _labels(predictions: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return predictions.argmax(-1) if predictions.ndim > 1 and predictions.shape[-1] > 1 else predictions.round()
