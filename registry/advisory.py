"""A registry on an MLflow server without slipway: the same rules, decided by the client, the ledger kept in tags.

This is advice. Whoever may edit a version there can move it, or rewrite these tags, without asking anybody; a rewritten
entry no longer fits its hash, and a deployment verifies the files against the digest in any case. Nothing is locked
either: of two clients at once, the later one wins.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from registry.errors import LedgerBroken
from registry.ledger import GENESIS, Draft, Entry, chained, hash_of
from registry.wire import EntryShape, read

PREFIX = "slipway.ledger."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def notice(uri: str) -> str:
    """What is said whenever such a registry is used."""
    return (
        f"{uri} runs without slipway, so this is advice: gates and approvals are decided here and kept in tags that "
        "anybody may change. Next: start the server with --app-name slipway"
    )


def entries_in(tags: Mapping[str, str], model: str, version: int) -> list[Entry]:
    """The entries that a version's tags hold, oldest first; those of another version (a copy brings them) left out.

    Raises:
        LedgerBroken: when a tag is not what slipway wrote.
    """
    found = [_entry(key, text, f"{model}/{version}") for key, text in tags.items() if key.startswith(PREFIX)]
    return sorted((e for e in found if (e.model, e.version) == (model, version)), key=lambda entry: entry.seq)


def _entry(key: str, text: str, subject: str) -> Entry:
    try:
        entry = read(EntryShape, text).entry()
    except ValueError as error:
        raise LedgerBroken(f"tag {key} of {subject} is no entry of a ledger: {error}. Next: delete the tag") from error
    if hash_of(entry) != entry.hash:
        raise LedgerBroken(f"tag {key} of {subject} was changed after it was written. Next: delete the tag")
    return entry


@dataclass(frozen=True, slots=True)
class TagPages:
    """A book's pages in tags: one tag for each entry, each chained to the one before it on the same version."""

    read: Callable[[str, int], Iterable[Entry]]
    write: Callable[[str, int, str, str], None]

    def append(self, draft: Draft) -> Entry:
        """Write one entry; its number is the time in microseconds, so that two writers seldom take the same."""
        *_, last = [None, *self.read(draft.model, draft.version)]
        seq = max((draft.at - _EPOCH) // (datetime.resolution), last.seq + 1 if last else 0)
        entry = chained(draft, seq, last.hash if last else GENESIS)
        self.write(draft.model, draft.version, f"{PREFIX}{seq}", EntryShape.of(entry).dump())
        return entry

    def of_version(self, model: str, version: int) -> Iterable[Entry]:
        """All entries of one version, oldest first."""
        return self.read(model, version)

    def freeze(self, path: str, model: str, version: int) -> None:
        """Nobody is there to refuse a write; a changed file is found when it is deployed."""
