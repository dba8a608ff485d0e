"""CloudWatch Logs: what those who answer have written."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ..logs import Line
from .session import client, mapped


class Logs:
    """CloudWatch Logs as this project uses it."""

    def lines(self, group: str, since: datetime) -> list[Line]:
        """What was written to this group since then, oldest first?

        Raises:
            AwsMissing: there is no such group: nobody has written to it yet.
        """
        with mapped(f"logs:FilterLogEvents {group}"):
            pages = self._logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=int(since.timestamp() * 1000))
            found = [_line(event) for page in pages for event in page["events"]]
        return sorted(found, key=lambda line: line.at)

    @cached_property
    def _logs(self) -> Any:
        return client("logs")


def _line(event: dict[str, Any]) -> Line:
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    return Line(at, event["logStreamName"], event["message"].rstrip("\n"), event["eventId"])
