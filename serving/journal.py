"""What was begun and ended in a model's deployments: numbered entries under create-only keys in S3.

An entry is never changed. Two deployers that begin at once try to write the same number, and S3 lets one of them. What
a killed deployer began stays open; it is taken over by the next one once its process is gone or its lease is over. One
that waits for hours renews its lease by another entry (see `hold`).
This is also what `slipway rollback` and `slipway verify` read when the registry is gone. Pure but for `this_process`.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from .errors import AwsFailed, Refused

# How long an entry holds the journal. Longer than anything that goes on without a renewal: Lambda's waiters give up
# after two minutes each.
LEASE = timedelta(minutes=15)
# The reason of an entry that was written by a prune: it holds the journal as a deployment does, and ships nothing new.
PRUNE = "prune"
# The reason of one that was written by a rollback, but for how it failed or was stopped.
ROLLBACK = "rollback"


class Kind(StrEnum):
    """What does an entry say?"""

    BEGAN = "began"
    RENEWED = "renewed"  # it still goes on
    STOPPED = "stopped"  # by hand: nobody goes on, and it is not finished
    DONE = "done"
    FAILED = "failed"


HOLDING = (Kind.BEGAN, Kind.RENEWED)


class _Shape(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shipped(_Shape):
    """Which release was deployed? Each target adds which bytes it was given, and how it was configured.

    Attributes:
        model, version, digest: the approved release.
        bundle: SHA-256 of the bundle's manifest.
    """

    model: str
    version: int
    digest: str
    bundle: str


# Covariant: an entry is never changed, so one that tells of Lambda may be read as one that tells of a release.
S = TypeVar("S", bound=Shipped, covariant=True)


class Entry(_Shape, Generic[S]):
    """What happened?

    Attributes:
        seq: 1, 2, 3, ... without gaps.
        who, host, process: who began, and where; by these a dead deployer is told from a slow one.
        published: the target's own name of what is deployed (a Lambda version, say), empty while it is not known.
        previous: what served before, by the same kind of name; empty when nothing did.
        reason: why it failed, or why it was done; `PRUNE` when nothing was deployed, `ROLLBACK` when an earlier
            release was.
    """

    seq: int
    kind: Kind
    at: datetime
    who: str
    host: str
    process: int
    shipped: S
    published: str = ""
    previous: str = ""
    reason: str = ""

    def to_bytes(self) -> bytes:
        """How is it stored?"""
        return self.model_dump_json(indent=1, serialize_as_any=True).encode()


def parse(body: bytes, key: str, shape: type[S]) -> Entry[S]:
    """Which entry is this? ``shape`` says what the target ships.

    Raises:
        AwsFailed: somebody wrote something else there.
    """
    try:
        entry: Entry[S] = Entry[shape].model_validate_json(body)  # type: ignore[valid-type]
        return entry
    except ValidationError as error:
        raise AwsFailed(f"{key} is no entry of a deployment journal: {error.errors()[0]['msg']}") from None


def author(body: bytes) -> str:
    """Who wrote this entry, whatever it ships?"""
    try:
        told = json.loads(body)
        return f"{told['who']} on {told['host']}"
    except (ValueError, KeyError, TypeError):
        return "somebody else"


def held_by(entries: Sequence[Entry[S]], now: datetime, alive: Callable[[Entry[Any]], bool]) -> Entry[S] | None:
    """Who is deploying right now? None when nobody is, or when who was is gone.

    Args:
        entries: the journal, oldest first.
        now: the time.
        alive: whether the process of an entry may still be running.
    """
    last = entries[-1] if entries else None
    if last is None or last.kind not in HOLDING or now - last.at > LEASE or not alive(last):
        return None
    return last


def begun(entries: Sequence[Entry[S]]) -> Entry[S]:
    """With which entry did the last deployment begin?"""
    return next((entry for entry in reversed(entries) if entry.kind is Kind.BEGAN), entries[-1])


def require_free(entries: Sequence[Entry[S]], now: datetime, alive: Callable[[Entry[Any]], bool]) -> None:
    """May a deployment begin?

    Raises:
        Refused: another one is under way; says whose, and until when at the latest.
    """
    if holder := held_by(entries, now, alive):
        since, until = begun(entries).at, (holder.at + LEASE).strftime("%H:%M:%S")
        what = f"{holder.shipped.model}/{holder.shipped.version}"
        others = {PRUNE: f"pruning {holder.shipped.model}", ROLLBACK: f"going back to {what}"}
        doing = others.get(holder.reason, f"deploying {what}")
        raise Refused(f"{holder.who} on {holder.host} is {doing} since {since:%Y-%m-%d %H:%M:%S} UTC. "
                      f"Next: wait; at {until} UTC it is taken for dead, unless it says that it goes on")


def deployed(entries: Sequence[Entry[S]]) -> list[Entry[S]]:
    """What was in service, one after the other? The last is what should be now. Looks at the whole journal."""
    return [entry for entry in entries if entry.kind is Kind.DONE]


def newest_deployed(entries: Sequence[Entry[S]]) -> Iterator[Entry[S]]:
    """The same from the newest backwards, so that no more is looked at than somebody asks for."""
    return (entry for entry in reversed(entries) if entry.kind is Kind.DONE)


def serving(entries: Sequence[Entry[S]]) -> Entry[S] | None:
    """Which deployment should serve now? None when nothing was deployed."""
    return next(newest_deployed(entries), None)


def kept(entries: Sequence[Entry[S]], keep: int) -> list[Entry[S]]:
    """Which deployments must be able to serve: the last one of each of the newest releases, newest first?

    What serves is the first of them and the way back is the second, so never fewer than these two.

    Args:
        entries: the journal, oldest first.
        keep: how many releases.
    """
    newest: dict[tuple[int, str], Entry[S]] = {}
    for entry in newest_deployed(entries):
        newest.setdefault(_release(entry), entry)
        if len(newest) == max(keep, 2):
            break
    return list(newest.values())


def is_open(entries: Sequence[Entry[Any]]) -> bool:
    """Was a deployment begun that did not end? What it left may be needed by whoever finishes it."""
    last = entries[-1] if entries else None
    return last is not None and last.kind in (*HOLDING, Kind.STOPPED) and last.reason != PRUNE


def finishes(entries: Sequence[Entry[Any]], target: str) -> str:
    """By which command does what was begun last come to its end?"""
    first = begun(entries)
    model, where = first.shipped.model, f" --target {target}"
    if first.reason == PRUNE:
        return f"slipway prune {model}"
    if first.reason == ROLLBACK:
        return f"slipway rollback {model}{where} --to {first.shipped.version}"
    return f"slipway deploy {model}{where}"


def way_back(entries: Sequence[Entry[S]], version: int | None = None) -> Entry[S]:
    """Which deployment does a rollback return to: the one before the current, or the last of a given version?

    A version that serves already is its own way back, so that a rollback that was cut off at its end can be run again.

    Raises:
        Refused: there is none.
    """
    done = newest_deployed(entries)
    current = next(done, None)
    if current is None:
        raise Refused("nothing was deployed yet, so there is nothing to return to. Next: slipway deploy MODEL")
    if version == current.shipped.version:
        return current
    known, now = set(), f"{current.shipped.model}/{current.shipped.version}"
    for entry in done:
        if _release(entry) == _release(current):
            continue
        if version in (None, entry.shipped.version):
            return entry
        known.add(f"{entry.shipped.model}/{entry.shipped.version}")
    if not known:
        raise Refused(f"{now} is the only release that was ever in service: "
                      "there is nothing to go back to. Next: promote another version, and deploy it")
    raise Refused(f"{current.shipped.model}/{version} was never in service before {now}. "
                  f"Next: one of {', '.join(sorted(known))}")


def _release(entry: Entry[Any]) -> tuple[int, str]:
    return entry.shipped.version, entry.shipped.digest


def taken_back(
    entries: Sequence[Entry[S]], version: int, digest: str, since: datetime | None = None
) -> Entry[S] | None:
    """With which entry began the rollback that took this release back? None: none did, or it has served since.

    One that was cut off counts, for somebody wanted it; one that failed does not: what served still serves.

    Args:
        entries: the journal, oldest first.
        version: of the release.
        digest: of the release.
        since: rollbacks that began before this are not looked for; None looks for all.
    """
    last = list[Entry[S]]()  # from where it is certain what served, so that no more is fetched
    for entry in reversed(entries):
        last.append(entry)
        older = since is not None and entry.at < since
        if entry.kind is Kind.DONE and (older or _release(entry) == (version, digest)):
            break
    serves, begun_by, found = (0, ""), None, None
    for entry in reversed(last):
        release = _release(entry)
        if entry.kind is Kind.BEGAN:
            begun_by = entry
            if entry.reason == ROLLBACK and serves == (version, digest) != release:
                found = entry
        elif entry.kind is Kind.FAILED and begun_by is found:
            found = None
        elif entry.kind is Kind.DONE:
            serves = release
            found = None if release == (version, digest) else found
    return found


def this_process() -> tuple[str, str, int]:
    """Who are we: name, host, process?"""
    import getpass

    return os.environ.get("SLIPWAY_USER") or getpass.getuser(), socket.gethostname(), os.getpid()


def may_be_alive(entry: Entry[Any]) -> bool:
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
