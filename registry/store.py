# mypy: disallow-untyped-calls=False
# MLflow's own methods carry no annotations, and this module is made of calls to them.
"""The `slipway:` registry store: MLflow's own, with every change decided and written to the ledger in one transaction.

It sits under the REST API, the registry UI and the Python client alike, so none of them goes around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import sqlalchemy as sa
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModel, RegisteredModelTag
from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL, get_canonical_stage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from mlflow.utils.time import get_current_time_millis
from sqlalchemy.orm import Session

from registry import plain_tables, shown, tables
from registry.book import TAKERS, Book, Found
from registry.errors import PolicyInvalid, PromotionRefused
from registry.gates import Champion, rival
from registry.identity import NOBODY, current_actor, current_call
from registry.ledgered import Ledgered
from registry.one_session import OneSession
from registry.promotion import Case, decide, judged
from registry.views import Refusal, Shown
from registry.whereabouts import SCHEME
from registry.wire import GlassShape, WordShape, read
from registry.words import Actor, ModelVersion, Stage


@dataclass(frozen=True, slots=True)
class _OpenBook(Book):
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


def open_store(store_uri: str, **_: object) -> GovernedStore:
    """MLflow's entry point: `slipway:` in front of any database URI that MLflow takes."""
    return GovernedStore(store_uri.removeprefix(SCHEME))


def wall_clock() -> datetime:
    """What time is it? The store's default clock."""
    return datetime.now(UTC)


class GovernedStore(Ledgered, SqlAlchemyStore):
    """MLflow's database store, where stage, alias, protected tags, deletion and renaming follow the policy."""

    def __init__(self, db_uri: str, clock: Callable[[], datetime] = wall_clock) -> None:
        """Open the database, and make the ledger's tables where they are missing."""
        super().__init__(db_uri)
        tables.create_tables(self.engine)
        self._sessions = OneSession(self.ManagedSessionMaker)
        self.ManagedSessionMaker = self._sessions
        self._clock = clock

    @contextmanager
    def _book(self) -> Iterator[_OpenBook]:
        """One transaction, first in the queue of writers; our refusals become MLflow's, which it tells its clients."""
        with self._sessions.transaction() as session:
            chain = tables.Chain(session, tables.lock(session))
            try:
                yield _OpenBook(chain, current_actor(), self._clock(), current_call(), session)
            except PromotionRefused as error:
                raise MlflowException(str(error), error_code=PERMISSION_DENIED) from error
            except (PolicyInvalid, ValueError) as error:
                # 400, not 500: a client would retry that for minutes.
                raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error

    # --- moving: stage and alias are one thing

    def transition_model_version_stage(
        self, name: str, version: int | str, stage: str, archive_existing_versions: bool
    ) -> MlflowVersion:
        """Move a version if the policy allows it; its alias goes with it, and whoever stood there is archived."""
        target = Stage(get_canonical_stage(stage))
        with self._book() as book:
            return self._move(book, name, version, target, "stage")

    def set_registered_model_alias(self, name: str, alias: str, version: int | str) -> None:
        """Set an alias; @champion and @challenger are the stages Production and Staging."""
        stage = Stage.of_alias(alias.lower())
        if stage is None:
            super().set_registered_model_alias(name, alias, version)
            return
        with self._book() as book:
            if alias != stage.alias:
                raise ValueError(f"@{alias} would be taken for @{stage.alias}. Next: use @{stage.alias}")
            self._move(book, name, version, stage, "alias")

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias; without @champion or @challenger its version is archived."""
        if Stage.of_alias(alias) is None:
            super().delete_registered_model_alias(name, alias)
            return
        with self._book() as book:
            number = self._aliases(book.session, name).get(alias)
            if number is not None:
                self._move(book, name, number, Stage.ARCHIVED, "alias")

    def _move(
        self, book: _OpenBook, name: str, version: int | str, target: Stage, via: str, glass: str | None = None
    ) -> MlflowVersion:
        rows, aliases = self._movable(book.session, name, version), self._aliases(book.session, name)
        row = rows[int(version)]
        found, now = _found(row), book.standing(_found(row))
        own = {alias for alias, number in aliases.items() if number == found.number and Stage.of_alias(alias)}
        stands = found.version.stage is target and own == {target.alias} - {None}
        if not stands or (target.alias and now.stands_on is None):  # adopted versions stand on nothing yet
            case = Case(
                model=found.model, version=found.number, current=found.version.stage, target=target, mover=book.actor,
                standing=now, champion=self._champion(book, found.model, aliases, rows), glass=glass,
            )  # fmt: skip
            decision = decide(case, book.rules(found.model, target), book.now)
            if not decision:
                raise PromotionRefused(str(decision))
            there = [r for n, r in rows.items() if n != found.number and r.current_stage == target.value]
            displaced = sorted(there, key=lambda r: r.version) if target.alias else []
            book.move(case, decision, tuple(int(r.version) for r in displaced), via)
            aliases = self._carry_out(book, row, target, displaced, aliases)
            if not all(approval.entry for approval in decision.approvals):
                self._show(book, found)  # the move itself was an approval
        made: MlflowVersion = row.to_mlflow_entity()
        made.aliases = [alias for alias, number in aliases.items() if number == found.number]
        return made

    def _movable(self, session: Session, name: str, version: int | str) -> dict[int, Any]:
        """The version's row, and those of whoever stands in a stage with an alias, by number."""
        asked = {**plain_tables.asked(self._get_active_workspace(), name), "of_version": int(version)}
        rows = {int(row.version): row for row in session.scalars(_MOVABLE, asked)}
        if int(version) not in rows:
            self._get_sql_model_version(session, name, version)  # says, in MLflow's words, what is not there
        return rows

    def _carry_out(
        self, book: _OpenBook, row: Any, target: Stage, displaced: Sequence[Any], aliases: dict[str, int]
    ) -> dict[str, int]:
        """Write what was decided: stages, times and aliases, as MLflow's own calls would, in as few statements."""
        number, now, where = int(row.version), get_current_time_millis(), self._get_active_workspace()
        for changed, stage in (*((other, Stage.ARCHIVED) for other in displaced), (row, target)):
            changed.current_stage, changed.last_updated_time = stage.value, now
        plain_tables.touch(book.session, where, row.name, now)
        stale = {a for a, n in aliases.items() if a == target.alias or (n == number and Stage.of_alias(a))}
        if stale:
            plain_tables.drop_aliases(book.session, where, row.name, stale)
        kept = {alias: held for alias, held in aliases.items() if alias not in stale}
        if target.alias:
            plain_tables.add_alias(book.session, where, row.name, target.alias, number)
            kept[target.alias] = number
        if target is Stage.PRODUCTION:
            book.freeze(_found(row))
        return kept

    def _aliases(self, session: Session, name: str) -> dict[str, int]:
        """All aliases of a model, and the versions that they point at."""
        return plain_tables.aliases(session, self._get_active_workspace(), name)

    def _champion(
        self, book: _OpenBook, name: str, aliases: Mapping[str, int], rows: Mapping[int, Any]
    ) -> Champion | None:
        number = aliases.get(str(Stage.PRODUCTION.alias))
        if number is None:
            return None
        row = rows.get(number)
        return book.champion(self._found(book, name, number) if row is None else _found(row))

    # --- evidence and reviewers' words travel as tags

    def set_model_version_tag(self, name: str, version: int | str, tag: ModelVersionTag) -> None:
        """Set a tag; evidence and reviewers' words become ledger entries, other slipway.* tags are refused."""
        if not shown.is_protected(tag.key):
            super().set_model_version_tag(name, version, tag)
            return
        with self._book() as book:
            found, text = self._found(book, name, version), tag.value or ""
            if tag.key == shown.GLASS_TAG:
                glass = read(GlassShape, text)
                self._move(book, name, version, Stage(glass.stage), "break-glass", glass.reason)
            elif tag.key in TAKERS:
                TAKERS[tag.key](book, found, text)
            else:
                raise PromotionRefused(f"tag {tag.key} is slipway's alone. Next: slipway approve {found}")
            self._show(book, found)

    def delete_model_version_tag(self, name: str, version: int | str, key: str) -> None:
        """Delete a tag; deleting one's word in the registry UI withdraws it, slipway's other tags stay."""
        if not shown.is_protected(key):
            super().delete_model_version_tag(name, version, key)
            return
        with self._book() as book:
            found = self._found(book, name, version)
            if key not in (shown.APPROVAL_TAG, shown.REJECTION_TAG):
                raise PromotionRefused(f"tag {key} shows what the ledger holds and stays")
            book.take_withdrawal(found, "")
            self._show(book, found)

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Set a tag of the model, unless it claims to be slipway's."""
        if shown.is_protected(tag.key):
            raise MlflowException(f"tag {tag.key} is slipway's alone", error_code=PERMISSION_DENIED)
        super().set_registered_model_tag(name, tag)

    def _show(self, book: _OpenBook, found: Found) -> None:
        now = book.standing(found)
        if now.evidence:
            aliases = self._aliases(book.session, found.model)
            champion = rival(self._champion(book, found.model, aliases, {}), found.number)
            now = replace(now, evidence=judged(now.evidence, book.rules(found.model), champion))
        for key, value in shown.tags(now).items():
            if value is None:
                super().delete_model_version_tag(found.model, found.number, key)
            else:
                super().set_model_version_tag(found.model, found.number, ModelVersionTag(key, value))
        row = self._get_sql_model_version(book.session, found.model, found.number)
        row.description = shown.description(row.description, now, str(found))

    # --- coming and going

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[ModelVersionTag] | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> MlflowVersion:
        """Register a version; slipway's tags on it (a copy carries them) are left out, its authors written down."""
        kept = [tag for tag in tags or () if not shown.is_protected(tag.key)]
        with self._sessions.transaction() as session:
            made = super().create_model_version(name, source, run_id, kept, *args, **kwargs)
            with self._book() as book:
                book.register(self._found(book, name, made.version), {book.actor.name} | self._authors(book, source))
            session.flush()
            return cast(MlflowVersion, made)

    def _authors(self, book: _OpenBook, source: str) -> set[str]:
        """Whoever answers for these files already: registering them again, or copying, launders nobody."""
        same = self._get_query(book.session, SqlModelVersion).filter(
            SqlModelVersion.source == source, SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
        )
        found = [_found(row) for row in same]
        if source.startswith("models:/"):
            origin = _parse_model_uri(source)
            if origin.name and origin.version:
                found.append(self._found(book, origin.name, origin.version))
        return {author for version in found for author in book.standing(version).authors}

    def delete_model_version(self, name: str, version: int | str) -> None:
        """Delete a version that nobody relies on."""
        with self._book() as book:
            book.leave(self._found(book, name, version), "deleted")
            super().delete_model_version(name, version)

    def delete_registered_model(self, name: str) -> None:
        """Delete a model none of whose versions anybody relies on."""
        with self._book() as book:
            for found in self._versions(book, name):
                book.leave(found, "deleted")
            super().delete_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Rename a model none of whose versions anybody relies on; its authors stay its authors."""
        with self._book() as book:
            for found in self._versions(book, name):
                authors = set(book.standing(found).authors)
                book.leave(found, "renamed")
                book.register(replace(found, version=replace(found.version, name=new_name)), authors)
            return cast(RegisteredModel, super().rename_registered_model(name, new_name))

    def update_model_version(self, name: str, version: int | str, description: str | None = None) -> MlflowVersion:
        """Describe a version, until somebody has approved it: what was approved stays as it was read."""
        with self._book() as book:
            found = self._found(book, name, version)
            if book.standing(found).protected:
                raise PromotionRefused(f"{found} is approved, its description stays as it was read")
            super().update_model_version(name, version, shown.own_words(description))
            self._show(book, found)
            return cast(MlflowVersion, self.get_model_version(name, version))

    def _versions(self, book: _OpenBook, name: str) -> list[Found]:
        query = self._get_query(book.session, SqlModelVersion).filter(
            SqlModelVersion.name == name, SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
        )
        return [_found(row) for row in query]

    def _found(self, book: _OpenBook, name: str, version: int | str) -> Found:
        return _found(self._get_sql_model_version(book.session, name, int(version)))

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

    def say(self, name: str, version: int, word: str, said: WordShape) -> Refusal | None:
        """Write down an approval, a rejection or a withdrawal; why not, when it is refused."""
        try:
            self.set_model_version_tag(name, version, ModelVersionTag(f"{shown.PREFIX}{word}", said.dump()))
        except MlflowException as refused:
            return Refusal(str(refused.message), refused.get_http_status_code())
        return None

    def waiting(self, limit: int = 50) -> list[Shown]:
        """The versions checked last not in Production nor archived, in as many queries however many wait."""
        with self._reading() as book:
            newest = tables.checked_last()
            rows = self._get_query(book.session, SqlModelVersion).join(
                newest, sa.and_(newest.c.model == SqlModelVersion.name, newest.c.version == SqlModelVersion.version)
            ).filter(SqlModelVersion.current_stage.in_([Stage.NONE.value, Stage.STAGING.value]))  # fmt: skip
            waiting = [_found(row) for row in rows.order_by(newest.c.seq.desc()).limit(limit)]
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
        return {found.model: found for found in map(_found, rows)}

    @contextmanager
    def _reading(self) -> Iterator[_OpenBook]:
        with self.ManagedSessionMaker() as session:
            yield _OpenBook(tables.Chain(session), current_actor(), self._clock(), None, session)

    def _view(self, book: _OpenBook, found: Found, champion: Found | None) -> Shown:
        case = Case(
            model=found.model, version=found.number, current=found.version.stage, target=Stage.PRODUCTION,
            mover=Actor(NOBODY), standing=book.standing(found), champion=book.champion(champion) if champion else None,
        )  # fmt: skip
        decision = decide(case, book.rules(found.model), book.now)
        return Shown(found, case.standing, decision.verdicts, decision)

    # --- what was here before

    def adopt(self, dry_run: bool) -> list[str]:
        """Write every version that the ledger does not know into it, as it stands; says what was, or would be, done."""
        told: list[str] = []
        with self._book() as book:
            rows = self._get_query(book.session, SqlModelVersion).filter(
                SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
            )
            for found in [_found(row) for row in rows.order_by(SqlModelVersion.name, SqlModelVersion.version)]:
                if book.standing(found).created is None:
                    told.append(self._adopted(book, found))
                    if not dry_run:
                        book.adopt(found)
        return told

    def _adopted(self, book: _OpenBook, found: Found) -> str:
        stage, aliases = found.version.stage, self._aliases(book.session, found.model)
        own = {a for a, n in aliases.items() if n == found.number and Stage.of_alias(a)}
        wanted = {stage.alias} - {None}
        apart = f"; out of step: {', '.join(sorted(f'@{a}' for a in own)) or 'no alias'}" if own != wanted else ""
        needs = f"; next: slipway check {found}, then promote it" if stage.alias or own else ""
        return f"{found} in {stage.value}{apart}{needs}"


def _found(row: Any) -> Found:
    """MLflow's row as our words: its columns have no types that a checker could follow."""
    version = ModelVersion(
        name=row.name, number=int(row.version), run_id=row.run_id or "", source=row.source or "",
        stage=Stage(row.current_stage),
    )  # fmt: skip
    return Found(version, int(row.creation_time), row.storage_location or row.source or "")
