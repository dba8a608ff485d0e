"""A registry in a database, read through SQLAlchemy: MLflow's tables as they are, and ours where they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import OperationalError, ProgrammingError

from registry import tables
from registry.errors import RegistryMisconfigured, RegistryUnreachable
from registry.ledger import GENESIS
from registry.plain_tables import ALIASES, MODELS, VERSIONS, aliases
from registry.reading import Model
from registry.wire import EntryShape, LedgerPage
from registry.words import ModelVersion, Stage

# Without MLflow's workspaces, which need a store of their own, everything is in the one called `default`.
_WORKSPACE = "default"
_DELETED = "Deleted_Internal"  # the stage that MLflow gives to what was deleted


class DatabaseReader:
    """What stands in one database."""

    def __init__(self, uri: str) -> None:
        """Read where this SQLAlchemy URI points; nothing is opened before something is asked."""
        self._uri = uri
        waits = {"timeout": 20} if uri.startswith("sqlite") else {}  # as long as MLflow waits for another's write
        self._engine = sa.create_engine(uri, poolclass=sa.pool.NullPool, connect_args=waits)

    def page(self, model: str | None, version: int | None, after: int) -> LedgerPage:
        """The next ledger entries; a database that slipway never wrote to has none."""
        with self._connected() as connection:
            if not sa.inspect(connection).has_table(tables.LEDGER.name):
                return LedgerPage(entries=(), head_seq=0, head_hash=GENESIS)
            seq, end = tables.head(connection)
            found = tables.page(connection, model, version, after, tables.PAGE)
            return LedgerPage(entries=tuple(map(EntryShape.of, found)), head_seq=seq, head_hash=end)

    def advisory(self) -> bool:
        """A database is never written to but through the governed store."""
        return False

    def model(self, name: str) -> Model | None:
        """A model by name."""
        with self._connected() as connection:
            wanted = sa.select(MODELS.c.name).where(MODELS.c.workspace == _WORKSPACE, MODELS.c.name == name)
            if connection.execute(wanted).first() is None:
                return None
            return Model(name, aliases(connection, _WORKSPACE, name))

    def version(self, model: str, number: int) -> ModelVersion | None:
        """A version by number."""
        with self._connected() as connection:
            row = connection.execute(_versions(model).where(VERSIONS.c.version == number)).first()
            return None if row is None else _word(row)

    def numbers(self, model: str) -> Sequence[int]:
        """The numbers of all versions of a model."""
        with self._connected() as connection:
            return sorted(_word(row).number for row in connection.execute(_versions(model)))

    def models(self) -> Sequence[Model]:
        """All models, by name."""
        with self._connected() as connection:
            wanted = sa.select(MODELS.c.name).where(MODELS.c.workspace == _WORKSPACE).order_by(MODELS.c.name)
            names, pointed = [str(row.name) for row in connection.execute(wanted)], _all_aliases(connection)
            return [Model(name, pointed.get(name, {})) for name in names]

    @contextmanager
    def _connected(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
        except (OperationalError, ProgrammingError) as error:
            told = str(error.orig)
            if "no such" in told or "does not exist" in told:
                found = f"{self._uri} holds no registry of MLflow 3.17: {told}"
                raise RegistryMisconfigured(f"{found}. Next: mlflow db upgrade {self._uri}") from error
            raise RegistryUnreachable(f"{self._uri} does not answer: {told}") from error


def _all_aliases(connection: sa.Connection) -> dict[str, dict[str, int]]:
    wanted = sa.select(ALIASES.c.name, ALIASES.c.alias, ALIASES.c.version).where(ALIASES.c.workspace == _WORKSPACE)
    found: dict[str, dict[str, int]] = {}
    for row in connection.execute(wanted):
        found.setdefault(str(row.name), {})[str(row.alias)] = int(row.version)
    return found


def _versions(model: str) -> sa.Select[Any]:
    return sa.select(VERSIONS).where(
        VERSIONS.c.workspace == _WORKSPACE, VERSIONS.c.name == model, VERSIONS.c.current_stage != _DELETED
    )


def _word(row: Any) -> ModelVersion:
    return ModelVersion(
        name=str(row.name), number=int(row.version), run_id=row.run_id or "", source=row.source or "",
        stage=Stage(row.current_stage or "None"),
    )  # fmt: skip
