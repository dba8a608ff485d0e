"""CloudWatch Logs: what those who answer have written."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from ..errors import AwsConflict
from ..logs import Line
from .session import client, mapped


class Logs:
    """CloudWatch Logs as this project uses it."""

    def lines(self, group: str, since: datetime, pattern: str = "") -> list[Line]:
        """What was written to this group since then, oldest first?

        Args:
            group: the log group.
            since: the first moment.
            pattern: CloudWatch's filter pattern; empty for every line.

        Raises:
            AwsMissing: there is no such group: nobody has written to it yet.
        """
        with mapped(f"logs:FilterLogEvents {group}"):
            chosen = {"filterPattern": pattern} if pattern else {}
            pages = self._logs.get_paginator("filter_log_events").paginate(
                logGroupName=group, startTime=int(since.timestamp() * 1000), **chosen)
            found = [_line(event) for page in pages for event in page["events"]]
        return sorted(found, key=lambda line: line.at)

    def retention(self, group: str) -> int | None:
        """For how many days is what is written to this group kept? None: for ever, or there is no such group."""
        with mapped(f"logs:DescribeLogGroups {group}"):
            found = self._logs.describe_log_groups(logGroupNamePrefix=group, limit=50)["logGroups"]
        return next((one.get("retentionInDays") for one in found if one["logGroupName"] == group), None)

    def retain(self, group: str, days: int) -> None:
        """Keep what is written to this group for so many days; the group is made when nobody has written to it yet."""
        with contextlib.suppress(AwsConflict), mapped(f"logs:CreateLogGroup {group}"):
            self._logs.create_log_group(logGroupName=group)
        with mapped(f"logs:PutRetentionPolicy {group}"):
            self._logs.put_retention_policy(logGroupName=group, retentionInDays=days)

    @cached_property
    def _logs(self) -> Any:
        return client("logs")


def _line(event: dict[str, Any]) -> Line:
    at = datetime.fromtimestamp(event["timestamp"] / 1000, UTC)
    return Line(at, event["logStreamName"], event["message"].rstrip("\n"), event["eventId"])
