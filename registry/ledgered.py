"""A database's ledger to read, to continue and to ask what is frozen: the store's half that knows nothing of MLflow."""

from __future__ import annotations

from collections.abc import Sequence

from registry import tables
from registry.errors import LedgerBroken
from registry.ledger import Entry, first_bad
from registry.one_session import OneSession
from registry.wire import EntryShape, LedgerPage


class Ledgered:
    """Whatever has sessions on a database with our tables."""

    _sessions: OneSession

    def ledger_page(self, model: str | None = None, version: int | None = None, after: int = 0) -> LedgerPage:
        """The next ledger entries after number `after`: of one version, one model, or all."""
        with self._sessions() as session:
            seq, end = tables.head(session)
            entries = tables.page(session, model, version, after, tables.PAGE)
            return LedgerPage(entries=tuple(map(EntryShape.of, entries)), head_seq=seq, head_hash=end)

    def said_of(self, name: str, version: int | None = None) -> list[Entry]:
        """The ledger's entries of one model, or of one version of it."""
        with self._sessions() as session:
            return tables.page(session, name, version, 0, tables.head(session)[0])

    def frozen_by(self, path: str) -> str | None:
        """Which approved version has its files at, above or below this artefact path?"""
        with self._sessions() as session:
            return tables.frozen_by(session, path)

    def restore(self, entries: Sequence[Entry]) -> int:
        """Append exported entries as they are; those that are here already must be the same.

        Raises:
            LedgerBroken: when the whole would not be one chain.
        """
        with self._sessions.transaction() as session:
            tables.lock(session)
            seq, _ = tables.head(session)
            present = tables.page(session, None, None, 0, seq)
            new = [entry for entry in entries if entry.seq > seq]
            bad = first_bad([*present, *new], (new[-1].seq, new[-1].hash) if new else tables.head(session))
            if bad is None and list(entries)[: len(entries) - len(new)] != present[: len(entries) - len(new)]:
                bad = "the first entries are not those that are here"
            if bad is None:
                tables.put(session, new)
        if bad:
            raise LedgerBroken(f"these entries do not continue the ledger: {bad}")
        return len(new)
