"""Tell subscribers of every ledger entry, and run a command at every release: at least once each, in order, for ever.

How far we came is kept in a small file, written only after a delivery was accepted. Whoever dies in between delivers
that one entry again, under the same id.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import requests

from registry import reading
from registry.errors import RegistryMisconfigured, RegistryUnreachable
from registry.events import Event, event_of, headers, pause, released
from registry.ledger import Entry
from registry.words import Stage

_log = logging.getLogger(__name__)
TIMEOUT = 30


@dataclass(frozen=True, slots=True)
class Cursor:
    """The file that says which entry was delivered last, and beside it the history of deliveries."""

    path: Path
    subscriber: str = ""

    @classmethod
    def of(cls, state: Path, subscriber: str) -> Cursor:
        """The cursor of one of several subscribers: a file of its own beside `state`, so that none waits for others."""
        mark = hashlib.sha256(subscriber.encode()).hexdigest()[:8]
        return cls(state.with_name(f"{state.stem}-{mark}{state.suffix}"), subscriber)

    def read(self) -> int:
        """The number of the entry delivered last; 0 before the first."""
        try:
            return int(json.loads(self.path.read_text())["seq"])
        except FileNotFoundError:
            return 0
        except (ValueError, KeyError, TypeError) as error:
            raise RegistryMisconfigured(f"{self.path} does not say how far we came: {error}") from error

    def write(self, seq: int) -> None:
        """Say it durably: a new file, flushed, put in place of the old one."""
        draft = self.path.with_suffix(".new")
        with draft.open("w") as stream:
            json.dump({"seq": seq}, stream)
            stream.flush()
            os.fsync(stream.fileno())
        draft.replace(self.path)

    def note(self, event: Event, outcome: str) -> None:
        """Add a line to the history of deliveries."""
        line = {"at": datetime.now(UTC).isoformat(), "subscriber": self.subscriber, "id": event.id,
                "entry": event.entry, "outcome": outcome}  # fmt: skip
        with self.path.with_suffix(".history.jsonl").open("a") as stream:
            torn = stream.tell() and not _ends_a_line(Path(stream.name))
            stream.write(f"{chr(10) if torn else ''}{json.dumps(line)}\n")


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as stream:
        stream.seek(-1, os.SEEK_END)
        return stream.read(1) == b"\n"


def deliveries(state: Path) -> list[dict[str, object]]:
    """Every delivery that was tried, to every subscriber, oldest first.

    A line that a killed watcher left unfinished is left out.
    """
    found: list[dict[str, object]] = []
    for path in sorted(state.parent.glob(f"{state.stem}-*.history.jsonl")):
        for line in path.read_text().splitlines():
            with suppress(ValueError):
                found.append(json.loads(line))
    return sorted(found, key=lambda one: str(one["at"]))


Deliver = Callable[[Entry], tuple[Event, str | None]]


def to_webhook(url: str, secret: str | None) -> Deliver:
    """Deliver entries by POST; an answer other than 2xx is a failure."""

    def deliver(entry: Entry) -> tuple[Event, str | None]:
        """POST one entry; the event, and why it was not accepted, if it was not."""
        event = event_of(entry, url)
        try:
            signed = headers(event, secret, datetime.now(UTC))
            answer = requests.post(url, data=event.body.encode(), headers=signed, timeout=TIMEOUT)
        except requests.RequestException as error:
            return event, str(error)
        return event, None if answer.ok else f"answered {answer.status_code}"

    return deliver


def to_command(command: str) -> Deliver:
    """Run a command at every release, `{model}` and `{version}` filled in; other entries pass by."""

    def deliver(entry: Entry) -> tuple[Event, str | None]:
        """Run it for one entry; the event, and why it was not accepted, if it was not."""
        event = event_of(entry, command)
        if not released(entry):
            return event, None
        words = [w.format(model=entry.model, version=entry.version) for w in shlex.split(command)]
        env = {**os.environ, "SLIPWAY_EVENT_ID": event.id}
        done = subprocess.run(words, env=env, check=False)  # noqa: S603  the user's own command, never through a shell
        return event, None if done.returncode == 0 else f"exit code {done.returncode}"

    return deliver


def deliver_new(entries: Iterable[Entry], deliver: Deliver, cursor: Cursor) -> Iterator[Event]:
    """Deliver entries in order and move the cursor after each.

    Raises:
        RegistryUnreachable: at the first that was not accepted; the cursor stays before it.
    """
    for entry in entries:
        event, failure = deliver(entry)
        cursor.note(event, failure or "accepted")
        if failure:
            raise RegistryUnreachable(f"entry {entry.seq} was not accepted: {failure}")
        cursor.write(entry.seq)
        yield event


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Who is told, and how far they were."""

    deliver: Deliver
    cursor: Cursor


def follow(
    subscribers: Sequence[Subscriber], every: float, sleep: Callable[[float], None], once: bool = False
) -> Iterator[Event]:
    """Deliver what is new to everybody, for ever (or once); who failed is asked again later each time, nobody waits.

    Raises:
        RegistryUnreachable: only with `once`, after everybody was tried: the first that failed.
    """
    failures, due, now = [0] * len(subscribers), [0.0] * len(subscribers), 0.0
    while True:
        failed: list[RegistryUnreachable] = []
        for place in [place for place, when in enumerate(due) if when <= now]:
            one = subscribers[place]
            try:
                yield from deliver_new(reading.ledger(after=one.cursor.read()), one.deliver, one.cursor)
                failures[place], wait = 0, every
            except RegistryUnreachable as error:
                failures[place] += 1
                failed.append(error)
                wait = pause(failures[place])
                if not once:
                    _log.warning("%s; trying again in %.0f s", error, wait)
            due[place] = now + wait
        if once:
            if failed:
                raise failed[0]
            return
        sleep(min(due) - now)
        now = min(due)


def strangers() -> list[str]:
    """Which versions stand in Production without the ledger having put them there?"""
    last: dict[str, int] = {}
    for entry in reading.ledger():
        if released(entry):
            last[entry.model] = entry.version
    champion = str(Stage.PRODUCTION.alias)
    return [
        f"{model.name}/{stands} is @champion, but the ledger says {_said(model.name, last.get(model.name))}"
        for model in reading.reader().models()
        if (stands := model.aliases.get(champion)) and last.get(model.name) != stands
    ]


def _said(model: str, number: int | None) -> str:
    return "nothing" if number is None else f"{model}/{number}"
