"""What the local AWS was asked, and what shall go wrong there: its own door for tests."""

from __future__ import annotations

import json
import os
import time
import urllib.request
from dataclasses import dataclass
from typing import Any

READING = ("Get", "List", "Head", "Describe", "Filter", "Invoke", "Query", "Simulate")


class Killed(BaseException):
    """What kill -9 does to a deployer, as far as AWS can see: it stops between two calls."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call that reached the local AWS; the status is 0 when its answer was lost."""

    service: str
    operation: str
    status: int

    @property
    def changes(self) -> bool:
        """May it have changed anything? Told by AWS's own naming of operations."""
        return not self.operation.startswith(READING)


def door(method: str, path: str, body: Any = None) -> Any:
    """What does it answer? ``path`` is below ``/_slipway/``."""
    request = urllib.request.Request(  # noqa: S310 - the local AWS
        f"{os.environ['AWS_ENDPOINT_URL']}/_slipway/{path}", method=method,
        data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - as above
        return json.loads(answer.read())


def forget() -> None:
    """Forget the calls that came, and what was still to go wrong."""
    door("DELETE", "calls")
    door("DELETE", "faults")


def told() -> list[dict[str, Any]]:
    """Which calls came since `forget`, with all that the local AWS tells of them?"""
    found: list[dict[str, Any]] = door("GET", "calls")
    return found


def calls() -> list[Call]:
    """Which calls came since `forget`?"""
    return [Call(seen["service"], seen["operation"], seen["status"]) for seen in told()]


def questions() -> list[tuple[Call, str]]:
    """Which calls came since `forget`, their status left out, and what did each of them ask, whenever it asked?"""
    found = list[tuple[Call, str]]()
    for seen in told():
        asked = {name: value for name, value in seen["body"].items() if name not in ("StartTime", "EndTime")}
        found.append((Call(seen["service"], seen["operation"], 0), f"{seen['path']} {asked}"))
    return found


def changing() -> list[Call]:
    """Which of them may have changed something?"""
    return [call for call in calls() if call.changes]


def expect(kind: str, call: Call, *, skip: int = 0, seconds: float = 1, instead: bool = False) -> None:
    """Once, after so many that go well, a call like this goes wrong; ``instead`` of what was to go wrong before."""
    door("PUT" if instead else "POST", "faults", {
        "kind": kind, "service": call.service, "operation": call.operation, "skip": skip, "seconds": seconds})


LOOK = 0.01
ANY = Call("", "", 0)


def hold(kind: str, call: Call, *, skip: int, instead: bool = False) -> None:
    """Let a call like this wait, after so many others: ``hold`` before it is done, ``late`` after.

    ``instead`` of one that waits, which goes on.
    """
    expect(kind, call, skip=skip, seconds=120, instead=instead)


def held() -> Call | None:
    """Which call waits?"""
    waiting = door("GET", "held")
    return Call(waiting[0]["service"], waiting[0]["operation"], 0) if waiting else None


def let_go() -> None:
    """Wait until the local AWS has seen that who it held is gone, or has it go on; then nothing more goes wrong."""
    ends = time.monotonic() + 150
    while held() is not None:
        assert time.monotonic() < ends
        time.sleep(LOOK)
    forget()
