"""Tell subscribers of every ledger entry, and run a command at every release: at least once each, in order, for ever.

How far we came is kept in a small file, written only after a delivery was accepted. Whoever dies in between delivers
that one entry again, under the same id.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import subprocess
from collections.abc import Callable, Iterable, Iterator
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
        line = {"at": datetime.now(UTC).isoformat(), "id": event.id, "entry": event.entry, "outcome": outcome}
        with self.path.with_suffix(".history.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")


Deliver = Callable[[Entry], tuple[Event, str | None]]


def to_webhook(url: str, secret: str | None) -> Deliver:
    """Deliver entries by POST; an answer other than 2xx is a failure."""

    def deliver(entry: Entry) -> tuple[Event, str | None]:
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


def follow(
    deliver: Deliver, cursor: Cursor, every: float, sleep: Callable[[float], None], once: bool = False
) -> Iterator[Event]:
    """Deliver what is new, for ever (or once); after a failure wait longer each time."""
    failures = 0
    while True:
        try:
            new = reading.ledger(after=cursor.read())
            yield from deliver_new(new, deliver, cursor)
            failures = 0
        except RegistryUnreachable as error:
            if once:
                raise
            failures += 1
            _log.warning("%s; trying again in %.0f s", error, pause(failures))
        if once:
            return
        sleep(pause(failures) if failures else every)


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
