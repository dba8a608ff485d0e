"""The ledger's tables, beside MLflow's own, and the few statements that touch them."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError, OperationalError, ProgrammingError

from registry.freeze import ancestors
from registry.ledger import GENESIS, Draft, Entry, Kind, chained, moment_of, stamp
from registry.words import Actor

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

PAGE = 1000  # entries that are handed over at once
_METADATA = sa.MetaData()

LEDGER = sa.Table(
    "slipway_ledger",
    _METADATA,
    sa.Column("seq", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("at", sa.String(27), nullable=False),
    sa.Column("kind", sa.String(20), nullable=False),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("actor", sa.String(120), nullable=False),
    sa.Column("verified", sa.Boolean, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("prev", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
    sa.Index("slipway_ledger_of_version", "model", "version", "seq"),
)

# One row: the newest entry's number and hash. Updating it first is what makes writers queue.
HEAD = sa.Table(
    "slipway_head",
    _METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("seq", sa.BigInteger, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

# Where the files of approved versions lie, as the server's artefact routes name it: what may not be written any more.
FROZEN = sa.Table(
    "slipway_frozen",
    _METADATA,
    sa.Column("path", sa.String(500), primary_key=True),
    sa.Column("model", sa.String(256), nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
)

# Who may log in by a token (registry/tokens.py): never the token, only what its secret hashes to.
TOKENS = sa.Table(
    "slipway_tokens",
    _METADATA,
    sa.Column("id", sa.String(12), primary_key=True),
    sa.Column("owner", sa.String(255), nullable=False),
    sa.Column("login", sa.String(64), nullable=False),
    sa.Column("note", sa.String(200), nullable=False),
    sa.Column("created", sa.String(27), nullable=False),
    sa.Column("expires", sa.String(27), nullable=False),
    sa.Column("revoked", sa.String(27)),
    sa.Column("hash", sa.String(64), nullable=False),
)


def create_tables(engine: sa.Engine) -> None:
    """Make the tables where they are missing; several servers may start at once."""
    for last in (False, True):
        try:
            with engine.begin() as connection:
                _METADATA.create_all(connection)
                if connection.execute(sa.select(HEAD.c.id)).first() is None:
                    connection.execute(sa.insert(HEAD).values(id=1, seq=0, hash=GENESIS))
            return
        except (IntegrityError, OperationalError, ProgrammingError):
            if last:  # a neighbour was faster the first time; twice is a real fault
                raise


# Built once: putting a statement together takes SQLAlchemy longer than SQLite takes to run it.
_LOCK = sa.update(HEAD).values(seq=HEAD.c.seq)
_LOCK_AND_HEAD = _LOCK.returning(HEAD.c.seq, HEAD.c.hash)
_HEAD = sa.select(HEAD.c.seq, HEAD.c.hash)
_SET_HEAD = sa.update(HEAD).values(seq=sa.bindparam("new_seq"), hash=sa.bindparam("new_hash"))
_INSERT = sa.insert(LEDGER)
_OF_VERSION = (
    sa.select(LEDGER)
    .where(LEDGER.c.model == sa.bindparam("of_model"), LEDGER.c.version == sa.bindparam("of_version"))
    .order_by(LEDGER.c.seq)
)


def lock(session: Session) -> tuple[int, str]:
    """Queue behind other writers; answers with the newest entry's number and hash.

    The update takes the write lock (SQLite's file, PostgreSQL's row) before anything is read, so that what is read
    afterwards cannot change until this transaction ends.
    """
    if session.get_bind().dialect.update_returning:
        row = session.execute(_LOCK_AND_HEAD).one()
        return int(row.seq), str(row.hash)
    session.execute(_LOCK)  # MySQL
    return head(session)


def head(session: Session | sa.Connection) -> tuple[int, str]:
    """The newest entry's number and hash, without waiting for anybody."""
    row = session.execute(_HEAD).one()
    return int(row.seq), str(row.hash)


class Chain:
    """The ledger in one transaction: what it says, and adding to its end.

    `end` is what `lock` answered: nobody else can move it until the transaction ends. Without it nothing is added.
    """

    def __init__(self, session: Session, end: tuple[int, str] | None = None) -> None:
        """Read the ledger in this transaction, and continue it after `end`."""
        self._session, self._end = session, end

    def append(self, draft: Draft) -> Entry:
        """Write one entry at the end of the chain."""
        if self._end is None:
            raise RuntimeError("the ledger was opened for reading")
        entry = chained(draft, self._end[0] + 1, self._end[1])
        put(self._session, [entry])
        self._end = entry.seq, entry.hash
        return entry

    def of_version(self, model: str, version: int) -> Iterator[Entry]:
        """All entries of one version, oldest first."""
        return of_version(self._session, model, version)

    def freeze(self, path: str, model: str, version: int) -> None:
        """From now on nothing under this path may be written."""
        freeze(self._session, path, model, version)


def put(session: Session, entries: Sequence[Entry]) -> None:
    """Write entries that have their places already; the caller holds the lock."""
    if not entries:
        return
    session.execute(_INSERT, [
        {"seq": entry.seq, "at": stamp(entry.at), "kind": entry.kind.value, "model": entry.model,
         "version": entry.version, "actor": entry.actor.name, "verified": entry.actor.verified, "body": entry.body,
         "prev": entry.prev, "hash": entry.hash}
        for entry in entries
    ])  # fmt: skip
    session.execute(_SET_HEAD, {"new_seq": entries[-1].seq, "new_hash": entries[-1].hash})


def of_version(session: Session, model: str, version: int) -> Iterator[Entry]:
    """All entries of one version, oldest first: one query, however long the ledger is."""
    return map(_entry, session.execute(_OF_VERSION, {"of_model": model, "of_version": version}))


def page(
    session: Session | sa.Connection, model: str | None, version: int | None, after: int, limit: int
) -> list[Entry]:
    """The next entries of one version, one model, or of all."""
    wanted = sa.select(LEDGER).where(LEDGER.c.seq > after).order_by(LEDGER.c.seq).limit(limit)
    if model is not None:
        wanted = wanted.where(LEDGER.c.model == model)
    if version is not None:
        wanted = wanted.where(LEDGER.c.version == version)
    return [_entry(row) for row in session.execute(wanted)]


def checked_last() -> sa.Subquery:
    """The versions that were ever checked, each with the number of its last check, to join with."""
    newest = sa.func.max(LEDGER.c.seq).label("seq")
    checked = sa.select(LEDGER.c.model, LEDGER.c.version, newest).where(LEDGER.c.kind == Kind.CHECKED.value)
    return checked.group_by(LEDGER.c.model, LEDGER.c.version).subquery()


class Fetched:
    """All that the ledger says about some versions, in one query: to look at many, and to write nothing."""

    def __init__(self, session: Session, versions: Collection[tuple[str, int]]) -> None:
        """Read them now."""
        self._entries: dict[tuple[str, int], list[Entry]] = {version: [] for version in versions}
        these = [sa.and_(LEDGER.c.model == model, LEDGER.c.version == number) for model, number in versions]
        if these:
            for row in session.execute(sa.select(LEDGER).where(sa.or_(*these)).order_by(LEDGER.c.seq)):
                self._entries[row.model, int(row.version)].append(_entry(row))

    def append(self, draft: Draft) -> Entry:
        """Never: this ledger is for reading."""
        raise RuntimeError(f"the ledger was opened for reading, not to write that {draft.model} {draft.kind.value}")

    def of_version(self, model: str, version: int) -> list[Entry]:
        """All entries of one of these versions, oldest first."""
        return self._entries[model, version]

    def freeze(self, path: str, model: str, version: int) -> None:
        """Never: this ledger is for reading."""
        raise RuntimeError(f"the ledger was opened for reading, not to freeze {path} of {model}/{version}")


def freeze(session: Session, path: str, model: str, version: int) -> None:
    """From now on nothing under this path may be written."""
    if session.execute(sa.select(FROZEN.c.path).where(FROZEN.c.path == path)).first() is None:
        session.execute(sa.insert(FROZEN).values(path=path, model=model, version=version))


def frozen_by(session: Session, path: str) -> str | None:
    """Which approved version has its files at, above or below this path? `images/3`, or None."""
    at_or_above = FROZEN.c.path.in_(ancestors(path))
    # Not by a range: where a database sorts as people do, `a/b` does not lie between `a/` and `a0`.
    below = FROZEN.c.path.startswith(f"{path}/", autoescape=True) if path else sa.true()
    row = session.execute(sa.select(FROZEN.c.model, FROZEN.c.version).where(sa.or_(at_or_above, below))).first()
    return f"{row.model}/{row.version}" if row else None


def _entry(row: sa.Row[tuple[object, ...]]) -> Entry:
    return Entry(
        seq=int(row.seq), at=moment_of(row.at), kind=Kind(row.kind), model=row.model, version=int(row.version),
        actor=Actor(row.actor, bool(row.verified)), body=row.body, prev=row.prev, hash=row.hash,
    )  # fmt: skip
