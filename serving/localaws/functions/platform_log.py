"""What Lambda itself writes to a function's log, in either of its formats. Pure.

https://docs.aws.amazon.com/lambda/latest/dg/monitoring-cloudwatchlogs-logformat.html and, for the records,
https://docs.aws.amazon.com/lambda/latest/dg/telemetry-schema-reference.html, read 2026-11.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Any


@dataclass(frozen=True, slots=True)
class Report:
    """What did one request take? Times in milliseconds, memory in MB; ``init`` where an environment was new."""

    request: str
    took: float
    memory: int
    used: int
    init: float | None
    status: str = "success"

    @property
    def billed(self) -> int:
        """What is paid for."""
        return math.ceil(self.took + (self.init or 0))


class Format(Enum):
    """A function's log format, in Lambda's words. JSON leaves END out, as Lambda does at its level INFO."""

    TEXT = "Text"
    JSON = "JSON"

    def init_start(self, runtime: str) -> list[str]:
        """An environment begins."""
        if self is Format.JSON:
            return [_record("platform.initStart", {"initializationType": "on-demand", "phase": "init",
                                                   "runtimeVersion": runtime})]
        return [f"INIT_START Runtime Version: {runtime}"]

    def start(self, request: str, version: str) -> list[str]:
        """A request begins."""
        if self is Format.JSON:
            return [_record("platform.start", {"requestId": request, "version": version})]
        return [f"START RequestId: {request} Version: {version}"]

    def end(self, report: Report) -> list[str]:
        """A request is done."""
        if self is Format.JSON:
            metrics = {"durationMs": round(report.took, 3), "billedDurationMs": report.billed,
                       "memorySizeMB": report.memory, "maxMemoryUsedMB": report.used}
            started = {} if report.init is None else {"initDurationMs": round(report.init, 3)}
            return [_record("platform.report", {"requestId": report.request, "metrics": {**metrics, **started},
                                                "status": report.status})]
        parts = [f"REPORT RequestId: {report.request}", f"Duration: {report.took:.2f} ms",
                 f"Billed Duration: {report.billed} ms", f"Memory Size: {report.memory} MB",
                 f"Max Memory Used: {report.used} MB"]
        if report.init is not None:
            parts.append(f"Init Duration: {report.init:.2f} ms")
        return [f"END RequestId: {report.request}", "\t".join(parts)]


def _record(kind: str, record: dict[str, Any]) -> str:
    now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return json.dumps({"time": now, "type": kind, "record": record}, separators=(",", ":"))
