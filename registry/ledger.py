"""The ledger as values: entries, their hashes, and whether a chain of them holds. No I/O happens here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import Enum

from registry.words import Actor

GENESIS = "0" * 64


class Kind(Enum):
    """What an entry says happened."""

    REGISTERED = "registered"
    CHECKED = "checked"
    APPROVED = "approved"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    MOVED = "moved"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry before it has a place in the chain; `body` is canonical JSON, its shape given by `kind`."""

    at: datetime
    kind: Kind
    model: str
    version: int
    actor: Actor
    body: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger: what happened, and the hash of all that came before."""

    seq: int
    at: datetime
    kind: Kind
    model: str
    version: int
    actor: Actor
    body: str
    prev: str
    hash: str


def stamp(moment: datetime) -> str:
    """A time as the ledger writes it: UTC, microseconds, always the same width (so text sorts as time)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def moment_of(text: str) -> datetime:
    """The inverse of `stamp`."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)


def canonical(value: object) -> str:
    """JSON with one spelling: sorted keys, no spaces, no NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def hash_of(entry: Entry) -> str:
    """The sha256 of everything an entry says, its place and its predecessor included."""
    said = [
        entry.seq, stamp(entry.at), entry.kind.value, entry.model, entry.version,
        entry.actor.name, entry.actor.verified, entry.body, entry.prev,
    ]  # fmt: skip
    return hashlib.sha256(canonical(said).encode()).hexdigest()


def chained(draft: Draft, seq: int, prev: str) -> Entry:
    """Give a draft its place after the entry whose hash is `prev`."""
    bare = Entry(seq, draft.at, draft.kind, draft.model, draft.version, draft.actor, draft.body, prev, "")
    return replace(bare, hash=hash_of(bare))


def first_bad(entries: Iterable[Entry], head: tuple[int, str]) -> str | None:
    """Where does the chain first fail? None when it holds from the first entry to `head` (its number and hash)."""
    seq, prev = 0, GENESIS
    for entry in entries:
        if entry.seq != seq + 1:
            return f"entry {seq + 1} is missing or out of order (found {entry.seq})"
        if entry.prev != prev:
            return f"entry {entry.seq} does not follow entry {seq}"
        if entry.hash != hash_of(entry):
            return f"entry {entry.seq} was edited"
        seq, prev = entry.seq, entry.hash
    if (seq, prev) != head:
        return f"the ledger ends at entry {seq}, its head says {head[0]}"
    return None
