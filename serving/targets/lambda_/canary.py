"""A new version beside the old one: shares of the alias, what is seen of both, and the way back at a breach."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ...aws import Aws
from ...config import CanarySettings
from ...errors import AwsConflict, AwsFailed, CanaryFailed
from ...traffic import LATENCY, TAIL, Judged, Judgement, Opinion, Verdict, judge
from .evidence import Evidence
from .steps import Shift

LOOK_EVERY = 5.0  # seconds; CloudWatch sums Lambda's figures by the minute


@dataclass(slots=True)
class Canary:
    """Watches one new version through all of its shares.

    Attributes:
        settings: limits and patience.
        probes: requests that both versions are asked, each once; without any, predictions are not compared.
        sleep, now: the clock, for tests.
        judged: what each test saw, at the last look.
        alarms: of CloudWatch, any of which sends the new version back.
        renew: called after each sleep; see `serving.execution.Hands`.
    """

    settings: CanarySettings
    probes: Sequence[Any] = ()
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    renew: Callable[[], None] = lambda: None
    judged: tuple[Judged, ...] = ()
    alarms: Sequence[str] = ()
    _evidence: Evidence | None = None

    def run(self, aws: Aws, step: Shift, version: str) -> None:
        """Give the version its share, and return when it may have more.

        Raises:
            CanaryFailed: it did worse than is put up with, or too few requests came; the old version has them all back.
            AwsConflict: somebody else moved the alias.
        """
        self._evidence = self._evidence or Evidence(self.settings, self.probes, since=self.now())
        _share(aws, step, {version: step.share})
        opinion = self._opinion(aws, step, version, self._evidence)
        if opinion.judgement is not Judgement.GO_ON:
            _share(aws, step, {})
            raise CanaryFailed(f"{step.function}:{version} was sent back at {step.share:.0%} of the requests: "
                               f"{opinion.reason}{self._took()}. Version {step.was} has all of them again",
                               self.judged)

    def _took(self) -> str:
        """How long did both take, where that is why? A share alone tells nobody how slow it is."""
        slow = any(one.verdict is Verdict.BROKEN and one.test in (LATENCY, TAIL) for one in self.judged)
        return f" ({self._evidence.took()})" if slow and self._evidence else ""

    def _opinion(self, aws: Aws, step: Shift, version: str, evidence: Evidence) -> Opinion:
        limits, schedule = self.settings.limits(compared=bool(self.probes)), self.settings.schedule
        lasts = self.now().timestamp() + step.wait
        ends = lasts + self.settings.patience
        evidence.ask(aws, step, version)
        while True:
            opinion = judge(limits, evidence.look(aws, step, version), schedule)
            self.judged = evidence.told(opinion.judged)
            if firing := self._firing(aws):
                return Opinion(Judgement.BACK, f"the alarm {', '.join(firing)} is firing")
            if opinion.judgement is Judgement.BACK or (
                    opinion.judgement is Judgement.GO_ON and self.now().timestamp() >= lasts):
                return opinion
            if self.now().timestamp() >= ends:
                return Opinion(Judgement.WAIT, f"only {opinion.reason} came in {self.settings.patience:.0f} s")
            self.sleep(LOOK_EVERY)
            self.renew()

    def _firing(self, aws: Aws) -> list[str]:
        states = aws.metrics.alarms(self.alarms) if self.alarms else {}
        return [name for name, state in states.items() if state == "ALARM"]


def give_back(aws: Aws, step: Shift) -> None:
    """Let the old version have all requests again."""
    _share(aws, step, {})


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
