"""What is seen of a new version beside the old one: its callers' requests, and the canary's own, asked of both.

A time is the Duration of Lambda's own REPORT line, for the callers' requests and for ours: what AWS bills, without the
network between it and whoever asked. A new environment's first answer is left out of the times and counted apart, in
both versions: what a start takes depends on how many environments there are, and a small share of the requests starts
more of them for each. Where the canary itself met a start, it asks the same request again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from statistics import median
from typing import Any

from ...aws import Aws
from ...comparing import Answers, Meanwhile, Times, scores_in
from ...config import CanarySettings
from ...errors import AwsFailed, AwsMissing
from ...logs import GROUPS, REPORT, Following, Took, answered, took
from ...traffic import ERRORS, LATENCY, Count, Judged
from .steps import Shift

OLD, NEW = "old", "new"


@dataclass(slots=True)
class Evidence:
    """All that was seen since the new version got its first request.

    Attributes:
        settings: what counts as what.
        probes: requests that both versions are asked, each once.
        since: when it began.
    """

    settings: CanarySettings
    probes: Sequence[Any]
    since: datetime
    _asked: int = 0
    _failed: int = 0
    _ours: set[str] = field(default_factory=set)  # ids of our own requests, which the log holds too
    _starts: dict[str, list[float]] = field(default_factory=lambda: {OLD: [], NEW: []})
    _times: Times = field(init=False)
    _answers: Answers = field(init=False)
    _meanwhile: Meanwhile = field(default_factory=Meanwhile)
    _log: Following = field(init=False)

    def __post_init__(self) -> None:
        chosen = self.settings
        self._times = Times(chosen.latency_ratio or 1.0, chosen.latency_ms)
        self._answers = Answers(chosen.score_step, chosen.score_bias)
        self._log = Following(self.since)

    def ask(self, aws: Aws, step: Shift, version: str) -> None:
        """Ask both versions the requests that were not asked yet: as many at each share."""
        part = -(-len(self.probes) // sum(share < 1 for share in self.settings.shares))
        for request in self.probes[self._asked : self._asked + part]:
            self._compare(aws, step, version, json.dumps(request).encode())

    def _compare(self, aws: Aws, step: Shift, version: str, body: bytes) -> None:
        """Ask one request; who is asked first changes every time, so that neither finds what the other left warm."""
        order = ((OLD, step.was), (NEW, version))[:: -1 if self._asked % 2 else 1]
        found = {which: self._answer(aws, step.function, which, number, body) for which, number in order}
        (old, old_took), (new, new_took) = found[OLD], found[NEW]
        self._asked += 1
        self._failed += new is None
        if old is not None and new is not None:
            self._answers.add(old, new)
            if old_took and new_took:
                self._times.add(old_took.milliseconds, new_took.milliseconds)

    def _answer(self, aws: Aws, function: str, which: str, version: str, body: bytes) -> tuple[Any, Took | None]:
        answer, report = self._once(aws, function, version, body)
        if answer is None or report is None or report.start is None:
            return answer, report
        self._starts[which].append(report.start)
        answer, report = self._once(aws, function, version, body)
        return answer, report if report and report.start is None else None

    def _once(self, aws: Aws, function: str, version: str, body: bytes) -> tuple[Any, Took | None]:
        try:
            said, log = aws.functions.invoke_logged(function, version, body)
        except AwsFailed as error:
            if error.code != "FunctionError":
                raise
            return None, None
        report, read = took(log), json.loads(said)
        if report:
            self._ours.add(report.request)
        return scores_in(read), report

    def look(self, aws: Aws, step: Shift, version: str) -> dict[str, Count]:
        """What was answered to every question so far?"""
        if self.settings.latency_ratio:
            self._read_log(aws, step, version)
        requests, failed = aws.metrics.answered(step.function, step.alias, version, self.since)
        errors = Count(requests + self._asked, failed + self._failed)
        return {ERRORS: errors, **self._times.counts(), **self._answers.counts()}

    def _read_log(self, aws: Aws, step: Shift, version: str) -> None:
        try:
            lines = self._log.new(aws.logs.lines(GROUPS["lambda"] + step.function, self._log.since, REPORT))
        except AwsMissing:  # nobody asked anything yet
            return
        old, new = answered(lines, step.was, self._ours), answered(lines, version, self._ours)
        self._starts[OLD] += old.starts
        self._starts[NEW] += new.starts
        for pair in self._meanwhile.add(old=old.times, new=new.times, share=step.share):
            self._times.add(*pair)

    def told(self, judged: Sequence[Judged]) -> tuple[Judged, ...]:
        """The same with what a reader wants to know of the times beside their count."""
        said = self.took()
        return tuple(replace(one, seen=f"{one.seen}; {said}") if one.test == LATENCY and said else one
                     for one in judged)

    def took(self) -> str:
        """How long did both versions take, and how many cold starts are not in that?"""
        return "; ".join(filter(None, [self._times.said(), *map(self._started, (OLD, NEW))]))

    def _started(self, which: str) -> str:
        starts = self._starts[which]
        many = "" if len(starts) == 1 else "s"
        return f"{len(starts)} cold start{many} of the {which} one left out ({median(starts):.0f} ms)" if starts else ""
