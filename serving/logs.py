"""What the version in service wrote: which log it is, and what is new in it. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from .config import Settings
from .errors import ConfigurationInvalid

# CloudWatch shows an event some seconds after its time, and not in order: each look goes back so far again.
OVERLAP = timedelta(seconds=30)
GROUPS = {"lambda": "/aws/lambda/", "sagemaker": "/aws/sagemaker/Endpoints/"}
# CloudWatch's pattern for what Lambda writes after each request, as a plain line or as JSON: either term will do.
# https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html, read 2026-11.
REPORT = '?"REPORT RequestId" ?"platform.report"'
_REPORT = re.compile(r"REPORT RequestId: (\S+)\s+Duration: ([\d.]+) ms")
_START = re.compile(r"\t(?:Init|Restore) Duration: ([\d.]+) ms")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True)
class Line:
    """What was written, when, by which process? ``id`` is CloudWatch's own, the same whenever it is asked."""

    at: datetime
    stream: str
    text: str
    id: str


@dataclass(frozen=True, slots=True)
class Took:
    """What does Lambda say that a request took, in milliseconds? ``start`` is what a new environment took before it."""

    request: str
    milliseconds: float
    start: float | None


def took(text: str) -> Took | None:
    """What does a REPORT line say, or the JSON that Lambda writes in its place? None when there is none in the text.

    https://docs.aws.amazon.com/lambda/latest/dg/python-logging.html and, for a function whose log format is JSON,
    https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html#platform-report, read 2026-11.
    """
    found = _REPORT.search(text)
    if found is None:
        return next(filter(None, map(_took_in_json, text.splitlines())), None)
    start = _START.search(text, found.start())
    return Took(found[1], float(found[2]), float(start[1]) if start else None)


def _took_in_json(line: str) -> Took | None:
    """What does this line say, if it is such a record? What a function prints may look like anything."""
    try:
        said = json.loads(line)
        if said["type"] != "platform.report":
            return None
        record: dict[str, Any] = said["record"]
        metrics = record["metrics"]
        start = metrics.get("initDurationMs", metrics.get("restoreDurationMs"))
        return Took(str(record["requestId"]), float(metrics["durationMs"]), None if start is None else float(start))
    except (ValueError, TypeError, KeyError, AttributeError):  # the log's last 4 KB may begin within a record
        return None


@dataclass(frozen=True, slots=True)
class Answered:
    """What did one version answer?

    Attributes:
        times: when each request came, in seconds, and its milliseconds; first answers of new environments are not among
            them.
        starts: the milliseconds that new environments took before their first answer.
    """

    times: list[tuple[float, float]]
    starts: list[float]


def answered(lines: Iterable[Line], version: str, but: Collection[str] = ()) -> Answered:
    """What do these lines tell of a version's requests? Lambda names the version in each log stream.

    Args:
        lines: of the function's log.
        version: the Lambda version.
        but: ids of requests that do not count.
    """
    found = [(line.at.timestamp(), report) for line in lines if f"[{version}]" in line.stream
             and (report := took(line.text)) and report.request not in but]
    # The line is written when the request is done.
    return Answered([(at - report.milliseconds / 1000, report.milliseconds) for at, report in found
                     if report.start is None],
                    [report.start for _, report in found if report.start is not None])


@dataclass(slots=True)
class Following:
    """What of a log was shown already? Asked again and again, each line is new once."""

    since: datetime
    _shown: dict[str, datetime] = field(default_factory=dict)

    def new(self, lines: Iterable[Line]) -> list[Line]:
        """Which of these were not shown yet? Moves ``since`` on, as far as no late line can be missed."""
        found = [line for line in lines if line.at >= self.since and line.id not in self._shown]
        self._shown |= {line.id: line.at for line in found}
        if self._shown:
            self.since = max(self.since, max(self._shown.values()) - OVERLAP)
            self._shown = {name: at for name, at in self._shown.items() if at >= self.since}
        return found


def group_of(target: str, model: str, settings: Settings) -> str:
    """Which log group does this model write to there?"""
    return f"{GROUPS[target]}{settings.prefix}-{model}"


def span(text: str) -> timedelta:
    """How long is ``10m``, ``90s``, ``2h`` or ``1d``?

    Raises:
        ConfigurationInvalid: it is written otherwise.
    """
    found = re.fullmatch(r"(\d{1,6})([smhd])", text)
    if found is None:
        raise ConfigurationInvalid(f"--since: found {text!r}; wanted a number and s, m, h or d, as in 10m")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
