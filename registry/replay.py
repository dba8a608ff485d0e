"""What stood where at a moment? The ledger played again, up to then. No I/O happens here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from registry.ledger import Entry, Kind
from registry.wire import MovedBody, read
from registry.words import Stage


@dataclass(frozen=True, slots=True)
class Stood:
    """One version's stage at a moment, and the entry that put it there."""

    model: str
    version: int
    stage: Stage
    since: Entry


def at(entries: Iterable[Entry], moment: datetime) -> tuple[Stood, ...]:
    """Every version's stage as of a moment (that moment's own entries included), by model and number."""
    stood: dict[tuple[str, int], Stood] = {}
    for entry in entries:
        if entry.at <= moment:
            _play(stood, entry)
    return tuple(stood[key] for key in sorted(stood))


def _play(stood: dict[tuple[str, int], Stood], entry: Entry) -> None:
    key = entry.model, entry.version
    if entry.kind is Kind.REGISTERED:
        stood[key] = Stood(*key, Stage.NONE, entry)
    elif entry.kind is Kind.DELETED:
        stood.pop(key, None)
    elif entry.kind is Kind.MOVED:
        body = read(MovedBody, entry.body)
        stood[key] = Stood(*key, Stage(body.target), entry)
        for number in body.displaced:
            stood[entry.model, number] = Stood(entry.model, number, Stage.ARCHIVED, entry)
