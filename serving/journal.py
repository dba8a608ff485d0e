"""What was begun and ended in a model's deployments: numbered entries under create-only keys in S3.

An entry is never changed. Two deployers that begin at once try to write the same number, and S3 lets one of them. What
a killed deployer began stays open; it is taken over by the next one once its process is gone or its lease is over.
This is also what `slipway rollback` and `slipway verify` read when the registry is gone. Pure but for `this_process`.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import AwsFailed, Refused

# Longer than any deployment: Lambda's waiters give up after two minutes each.
LEASE = timedelta(minutes=15)


class Kind(StrEnum):
    """What does an entry say?"""

    BEGAN = "began"
    DONE = "done"
    FAILED = "failed"


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shipped(_Shape):
    """Which bytes were put where?

    Attributes:
        model, version, digest: the approved release.
        bundle: SHA-256 of the bundle's manifest.
        code: SHA-256 of the function's zip.
        layer, layer_sha256: the layer's identity and the SHA-256 of its zip.
        runtime, architecture, handler, memory, timeout, role: the function's configuration.
    """

    model: str
    version: int
    digest: str
    bundle: str
    code: str
    layer: str
    layer_sha256: str
    runtime: str
    architecture: str
    handler: str
    memory: int
    timeout: int
    role: str


class Entry(_Shape):
    """What happened?

    Attributes:
        seq: 1, 2, 3, ... without gaps.
        who, host, process: who began, and where; by these a dead deployer is told from a slow one.
        published: the Lambda version in question, empty while it is not known.
        previous: where the alias pointed before, empty when nowhere.
        reason: why it failed, or why it was done.
    """

    seq: int
    kind: Kind
    at: datetime
    who: str
    host: str
    process: int
    shipped: Shipped
    published: str = ""
    previous: str = ""
    reason: str = ""

    def to_bytes(self) -> bytes:
        """How is it stored?"""
        return self.model_dump_json(indent=1).encode()


def parse(body: bytes, key: str) -> Entry:
    """Which entry is this?

    Raises:
        AwsFailed: somebody wrote something else there.
    """
    try:
        return Entry.model_validate_json(body)
    except ValidationError as error:
        raise AwsFailed(f"{key} is no entry of a deployment journal: {error.errors()[0]['msg']}") from None


def held_by(entries: Sequence[Entry], now: datetime, alive: Callable[[Entry], bool]) -> Entry | None:
    """Who is deploying right now? None when nobody is, or when who was is gone.

    Args:
        entries: the journal, oldest first.
        now: the time.
        alive: whether the process of an entry may still be running.
    """
    last = entries[-1] if entries else None
    if last is None or last.kind is not Kind.BEGAN or now - last.at > LEASE or not alive(last):
        return None
    return last


def require_free(entries: Sequence[Entry], now: datetime, alive: Callable[[Entry], bool]) -> None:
    """May a deployment begin?

    Raises:
        Refused: another one is under way; says whose, and until when at the latest.
    """
    if holder := held_by(entries, now, alive):
        until = (holder.at + LEASE).strftime("%H:%M:%S")
        what = f"{holder.shipped.model}/{holder.shipped.version}"
        raise Refused(f"{holder.who} on {holder.host} is deploying {what} since {holder.at:%H:%M:%S} UTC. "
                      f"Next: wait; at {until} UTC it is taken for dead")


def deployed(entries: Sequence[Entry]) -> list[Entry]:
    """What was in service, one after the other? The last is what should be now."""
    return [entry for entry in entries if entry.kind is Kind.DONE]


def way_back(entries: Sequence[Entry], version: int | None = None) -> Entry:
    """Which deployment does a rollback return to: the one before the current, or the last of a given version?

    Raises:
        Refused: there is none.
    """
    done = deployed(entries)
    if not done:
        raise Refused("nothing was deployed yet, so there is nothing to return to")
    current = done[-1].shipped
    earlier = [e for e in done[:-1] if (e.shipped.version, e.shipped.digest) != (current.version, current.digest)]
    found = [e for e in earlier if version is None or e.shipped.version == version]
    if found:
        return found[-1]
    if not earlier:
        raise Refused(f"{current.model}/{current.version} is the only release that was ever in service: "
                      "there is nothing to go back to")
    known = ", ".join(sorted({f"{e.shipped.model}/{e.shipped.version}" for e in earlier}))
    raise Refused(f"{current.model}/{version} was never in service before {current.model}/{current.version}. "
                  f"Next: one of {known}")


def this_process() -> tuple[str, str, int]:
    """Who are we: name, host, process?"""
    import getpass

    return os.environ.get("SLIPWAY_USER") or getpass.getuser(), socket.gethostname(), os.getpid()


def may_be_alive(entry: Entry) -> bool:
    """May the process that wrote this entry still be running? Only on its own host is a no certain."""
    _, host, process = this_process()
    if entry.host != host:
        return True
    if entry.process == process:
        return False  # it was ourselves, and we are not deploying now
    try:
        os.kill(entry.process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
