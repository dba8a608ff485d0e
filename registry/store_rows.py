# mypy: disallow-untyped-calls=False
# MLflow's own methods carry no annotations, and this module is made of calls to them.
"""What do MLflow's tables hold, in our words? Its database store, opened as a book, with what a reviewer looks at.

Nothing here moves a version; `store` does that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.orm import Session

from registry import in_browser, plain_tables, policy, tables
from registry.book import Book, Found
from registry.errors import PolicyInvalid, PromotionRefused
from registry.freeze import overlap, stored_at, whole
from registry.gates import Champion
from registry.identity import NOBODY, current_actor, current_call
from registry.ledgered import Ledgered
from registry.one_session import OneSession
from registry.promotion import Case, decide
from registry.views import Shown
from registry.whereabouts import served_from
from registry.words import Actor, ModelVersion, Stage


@dataclass(frozen=True, slots=True)
class OpenBook(Book):
    """A book and the database transaction that it is written in."""

    session: Session


# The rows that a move can touch: the version itself, and whoever stands in a stage; built once, as in `tables`.
_MOVABLE = sa.select(SqlModelVersion).where(
    SqlModelVersion.workspace == sa.bindparam("of_workspace"),
    SqlModelVersion.name == sa.bindparam("of_name"),
    sa.or_(
        SqlModelVersion.version == sa.bindparam("of_version"),
        SqlModelVersion.current_stage.in_([stage.value for stage in Stage if stage.alias]),
    ),
    SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL,
)


def wall_clock() -> datetime:
    """What time is it? The store's default clock."""
    return datetime.now(UTC)


class StoreRows(Ledgered, SqlAlchemyStore):
    """MLflow's database store with our tables beside its own."""

    def __init__(self, db_uri: str, clock: Callable[[], datetime] = wall_clock) -> None:
        """Open the database, and make the ledger's tables where they are missing."""
        super().__init__(db_uri)
        tables.create_tables(self.engine)
        self._sessions = OneSession(self.ManagedSessionMaker)
        self.ManagedSessionMaker = self._sessions
        self._clock = clock

    def _book(self) -> AbstractContextManager[OpenBook]:
        """One transaction, first in the queue of writers; our refusals become MLflow's, which it tells its clients."""
        return self._opened()

    @contextmanager
    def _opened(self) -> Iterator[OpenBook]:
        with self._sessions.transaction() as session:
            chain = tables.Chain(session, tables.lock(session))
            try:
                yield OpenBook(chain, current_actor(), self._clock(), current_call(), session)
            except PromotionRefused as error:
                told = f"{error}{in_browser.page(error.about)}"
                raise MlflowException(told, error_code=PERMISSION_DENIED) from error
            except (PolicyInvalid, ValueError) as error:
                # 400, not 500: a client would retry that for minutes.
                raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error

    def _movable(self, session: Session, name: str, version: int | str) -> dict[int, Any]:
        """The version's row, and those of whoever stands in a stage with an alias, by number."""
        asked = {**plain_tables.asked(self._get_active_workspace(), name), "of_version": int(version)}
        rows = {int(row.version): row for row in session.scalars(_MOVABLE, asked)}
        if int(version) not in rows:
            self._get_sql_model_version(session, name, version)  # says, in MLflow's words, what is not there
        return rows

    def _aliases(self, session: Session, name: str) -> dict[str, int]:
        """All aliases of a model, and the versions that they point at."""
        return plain_tables.aliases(session, self._get_active_workspace(), name)

    def _champion(
        self, book: OpenBook, name: str, aliases: Mapping[str, int], rows: Mapping[int, Any]
    ) -> Champion | None:
        number = aliases.get(str(Stage.PRODUCTION.alias))
        if number is None:
            return None
        row = rows.get(number)
        return book.champion(self._found(book, name, number) if row is None else found_in(row))

    def _versions(self, book: OpenBook, name: str) -> list[Found]:
        query = self._get_query(book.session, SqlModelVersion).filter(
            SqlModelVersion.name == name, SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
        )
        return [found_in(row) for row in query]

    def _found(self, book: OpenBook, name: str, version: int | str) -> Found:
        return found_in(self._get_sql_model_version(book.session, name, int(version)))

    def approved_at(self, address: str) -> str | None:
        """Which approved version has its files at, above or below an address that this server does not serve?"""
        with self._reading() as book:
            rows = self._get_query(book.session, SqlModelVersion).filter(
                SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
            )
            there = (found for found in map(found_in, rows) if overlap(whole(found.location), address))
            return next((str(found) for found in there if book.standing(found).protected), None)

    # --- what a reviewer looks at

    def shown(self, name: str, version: int) -> tuple[Shown, Shown | None] | None:
        """One version, and the champion beside it; None when there is no such version."""
        with self._reading() as book:
            number = self._aliases(book.session, name).get(str(Stage.PRODUCTION.alias))
            champion = self._found(book, name, number) if number is not None else None
            try:
                found = self._found(book, name, version)
            except MlflowException:
                return None
            return self._view(book, found, champion), self._view(book, champion, champion) if champion else None

    def strangers(self) -> list[str]:
        """What is said of each model that the policy names and nobody registered."""
        with self._reading() as book:
            where = self._get_active_workspace()
            return policy.load().strangers(lambda: plain_tables.names(book.session, where))

    def waiting(self, limit: int = 50) -> list[Shown]:
        """The versions checked last not in Production nor archived, in as many queries however many wait."""
        with self._reading() as book:
            newest = tables.checked_last()
            rows = self._get_query(book.session, SqlModelVersion).join(
                newest, sa.and_(newest.c.model == SqlModelVersion.name, newest.c.version == SqlModelVersion.version)
            ).filter(SqlModelVersion.current_stage.in_([Stage.NONE.value, Stage.STAGING.value]))  # fmt: skip
            waiting = [found_in(row) for row in rows.order_by(newest.c.seq.desc()).limit(limit)]
            champions = self._champions(book.session, {found.model for found in waiting})
            told = tables.Fetched(book.session, {(f.model, f.number) for f in (*waiting, *champions.values())})
            fetched = replace(book, pages=told)
            views = [self._view(fetched, found, champions.get(found.model)) for found in waiting]
            return [view for view in views if view.standing.evidence]  # a number that came back was not checked itself

    def _champions(self, session: Session, names: set[str]) -> dict[str, Found]:
        """The champion of each of these models that has one."""
        aliases = plain_tables.ALIASES
        rows = self._get_query(session, SqlModelVersion).join(aliases, sa.and_(
            aliases.c.workspace == SqlModelVersion.workspace, aliases.c.name == SqlModelVersion.name,
            aliases.c.version == SqlModelVersion.version,
        )).filter(aliases.c.alias == Stage.PRODUCTION.alias, SqlModelVersion.name.in_(names))  # fmt: skip
        return {found.model: found for found in map(found_in, rows)}

    @contextmanager
    def _reading(self) -> Iterator[OpenBook]:
        with self.ManagedSessionMaker() as session:
            try:
                yield OpenBook(tables.Chain(session), current_actor(), self._clock(), None, session)
            except PolicyInvalid as error:
                raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error

    def _view(self, book: OpenBook, found: Found, champion: Found | None) -> Shown:
        case = Case(
            model=found.model, version=found.number, current=found.version.stage, target=Stage.PRODUCTION,
            mover=Actor(NOBODY), standing=book.standing(found), champion=book.champion(champion) if champion else None,
        )  # fmt: skip
        decision = decide(case, book.rules(found.model), book.now)
        return Shown(found, case.standing, decision.verdicts, decision)


def found_in(row: Any) -> Found:
    """MLflow's row as our words: its columns have no types that a checker could follow."""
    version = ModelVersion(
        name=row.name, number=int(row.version), run_id=row.run_id or "", source=row.source or "",
        stage=Stage(row.current_stage),
    )  # fmt: skip
    return Found(version, int(row.creation_time), _served(row.storage_location or row.source or ""))


def _served(location: str) -> str:
    """Files by the path that a server gives out, where we are one and they were registered by their address."""
    path = stored_at(location, served_from())
    return location if path is None else f"mlflow-artifacts:/{path}"
