"""The `slipway:` registry store: MLflow's own, with every change decided and written to the ledger in one transaction.

It sits under the REST API, the registry UI and the Python client alike, so none of them goes around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModel, RegisteredModelTag
from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL, get_canonical_stage
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, PERMISSION_DENIED
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion, SqlRegisteredModelAlias
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore
from sqlalchemy.orm import Session

from registry import policy, shown, tables
from registry.errors import PolicyInvalid
from registry.gates import Champion
from registry.identity import NOBODY, current_actor
from registry.ledger import Draft, Entry, Kind
from registry.one_session import OneSession
from registry.promotion import Case, cannot_approve, decide, judged
from registry.standing import Standing, standing
from registry.wire import (
    ApprovalShape,
    ApprovedBody,
    DeletedBody,
    EntryShape,
    EvidenceShape,
    LedgerPage,
    MovedBody,
    RegisteredBody,
    Shape,
    read,
)
from registry.words import Actor, Decision, Stage

SCHEME = "slipway:"
PAGE = 1000


def open_store(store_uri: str, **_: object) -> GovernedStore:
    """MLflow's entry point: `slipway:` in front of any database URI that MLflow takes."""
    return GovernedStore(store_uri.removeprefix(SCHEME))


def refused(message: str) -> MlflowException:
    """A refusal as MLflow tells it to its clients: 403, raised at once, never retried."""
    return MlflowException(message, error_code=PERMISSION_DENIED)


class GovernedStore(SqlAlchemyStore):
    """MLflow's database store, where stage, alias, protected tags, deletion and renaming follow the policy."""

    def __init__(self, db_uri: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Open the database, and make the ledger's tables where they are missing."""
        super().__init__(db_uri)
        tables.create_tables(self.engine)
        self._sessions = OneSession(self.ManagedSessionMaker)
        self.ManagedSessionMaker = self._sessions
        self._clock = clock

    # --- moving: stage and alias are one thing

    def transition_model_version_stage(
        self, name: str, version: int | str, stage: str, archive_existing_versions: bool
    ) -> MlflowVersion:
        """Move a version if the policy allows it; its alias goes with it, and whoever stood there is archived."""
        return self._move(name, _number(version), Stage(get_canonical_stage(stage)), via="stage")

    def set_registered_model_alias(self, name: str, alias: str, version: int | str) -> None:
        """Set an alias; @champion and @challenger are the stages Production and Staging."""
        stage = Stage.of_alias(alias.lower())
        if stage is None:
            super().set_registered_model_alias(name, alias, version)
        elif alias != stage.alias:
            raise MlflowException(
                f"@{alias} would be taken for @{stage.alias}. Next: use @{stage.alias} or another name",
                error_code=INVALID_PARAMETER_VALUE,
            )
        else:
            self._move(name, _number(version), stage, via="alias")

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias; without @champion or @challenger its version is archived."""
        stage = Stage.of_alias(alias)
        with self._sessions.transaction() as session:
            row = self._get_registered_model_alias(session, name, alias)
            if stage is None or row is None:
                super().delete_registered_model_alias(name, alias)
            else:
                self._move(name, row.version, Stage.ARCHIVED, via="alias")

    def _move(self, name: str, version: int, target: Stage, via: str) -> MlflowVersion:
        with self._sessions.transaction() as session:
            tables.lock(session)
            found = self._get_sql_model_version(session, name, version)
            current = Stage(found.current_stage)
            if current is target and self._in_step(session, name, version, target):
                return self.get_model_version(name, version)
            case = self._case(session, found, target)
            now = self._clock()
            decision = decide(case, self._policy().rules(name, target), now)
            if not decision:
                raise refused(str(decision))
            self._record_move(session, case, decision, now, via)
            self._carry_out(session, name, version, target)
            return self.get_model_version(name, version)

    def _in_step(self, session: Session, name: str, version: int, stage: Stage) -> bool:
        return {a.alias for a in self._governed_aliases(session, name, version)} == ({stage.alias} - {None})

    def _governed_aliases(self, session: Session, name: str, version: int) -> list[SqlRegisteredModelAlias]:
        rows = self._get_registered_model(session, name).registered_model_aliases
        return [row for row in rows if row.version == version and Stage.of_alias(row.alias)]

    def _case(self, session: Session, found: SqlModelVersion, target: Stage) -> Case:
        return Case(
            model=found.name,
            version=found.version,
            current=Stage(found.current_stage),
            target=target,
            mover=current_actor(),
            standing=self._standing(session, found),
            champion=self._champion(session, found.name),
        )

    def _standing(self, session: Session, found: SqlModelVersion) -> Standing:
        now = standing(tables.of_version(session, found.name, found.version))
        # A number can be used again after a model was deleted by other means: its old entries say nothing about it.
        return now if now.created == found.creation_time else Standing()

    def _champion(self, session: Session, name: str) -> Champion | None:
        row = self._get_registered_model_alias(session, name, Stage.PRODUCTION.alias)
        if row is None:
            return None
        evidence = self._standing(session, self._get_sql_model_version(session, name, row.version)).evidence
        return Champion(row.version, evidence.digest if evidence else None)

    def _record_move(self, session: Session, case: Case, decision: Decision, now: datetime, via: str) -> None:
        approvals = []
        for approval in decision.approvals:
            entry = approval.entry
            if not entry:  # the move itself is the approval
                body = ApprovedBody(
                    digest=approval.digest, evidence=approval.evidence, comment=approval.comment, by_moving=True
                )
                entry = self._append(session, Kind.APPROVED, case.model, case.version, body, now).seq
            approvals.append(entry)
        evidence = case.standing.evidence
        body = MovedBody(
            source=case.current.value,
            target=case.target.value,
            displaced=self._standing_in(session, case),
            digest=evidence.digest if evidence else None,
            evidence=evidence.entry if evidence else None,
            approvals=tuple(approvals),
            via=via,
        )
        self._append(session, Kind.MOVED, case.model, case.version, body, now)

    def _standing_in(self, session: Session, case: Case) -> tuple[int, ...]:
        if case.target.alias is None:
            return ()
        rows = self._get_query(session, SqlModelVersion).filter(
            SqlModelVersion.name == case.model,
            SqlModelVersion.current_stage == case.target.value,
            SqlModelVersion.version != case.version,
        )
        return tuple(sorted(row.version for row in rows))

    def _carry_out(self, session: Session, name: str, version: int, target: Stage) -> None:
        active = target.alias is not None
        super().transition_model_version_stage(name, version, target.value, archive_existing_versions=active)
        for row in self._governed_aliases(session, name, version):
            if row.alias != target.alias:
                super().delete_registered_model_alias(name, row.alias)
        if target.alias:
            super().set_registered_model_alias(name, target.alias, version)
        session.flush()
        session.expire_all()

    # --- evidence and approvals travel as tags

    def set_model_version_tag(self, name: str, version: int | str, tag: ModelVersionTag) -> None:
        """Set a tag; `slipway.evidence` and `slipway.approval` become ledger entries, other slipway.* are refused."""
        if not shown.is_protected(tag.key):
            super().set_model_version_tag(name, version, tag)
            return
        takers = {shown.EVIDENCE_TAG: self._take_evidence, shown.APPROVAL_TAG: self._take_approval}
        if tag.key not in takers:
            raise refused(f"tag {tag.key} is written by slipway alone. Next: slipway approve {name}/{version}")
        with self._sessions.transaction() as session:
            tables.lock(session)
            found = self._get_sql_model_version(session, name, _number(version))
            takers[tag.key](session, found, tag.value or "")
            self._show(session, found)

    def delete_model_version_tag(self, name: str, version: int | str, key: str) -> None:
        """Delete a tag, unless slipway wrote it."""
        if shown.is_protected(key):
            raise refused(f"tag {key} shows what the ledger holds and cannot be deleted")
        super().delete_model_version_tag(name, version, key)

    def set_registered_model_tag(self, name: str, tag: RegisteredModelTag) -> None:
        """Set a tag of the model, unless it claims to be slipway's."""
        if shown.is_protected(tag.key):
            raise refused(f"tag {tag.key} is written by slipway alone")
        super().set_registered_model_tag(name, tag)

    def _take_evidence(self, session: Session, found: SqlModelVersion, text: str) -> None:
        subject = f"{found.name}/{found.version}"
        if current_actor().name == NOBODY:
            raise refused(f"evidence for {subject} needs a name. Next: log in, or set SLIPWAY_USER")
        body = _parsed(EvidenceShape, text, f"evidence for {subject}")
        self._append(session, Kind.CHECKED, found.name, found.version, body)

    def _take_approval(self, session: Session, found: SqlModelVersion, text: str) -> None:
        subject = f"{found.name}/{found.version}"
        shape = _approval_of(text, subject)
        now = self._standing(session, found)
        flaw = cannot_approve(current_actor(), now.authors, self._policy().rules(found.name, Stage.PRODUCTION))
        if flaw:
            raise refused(f"{subject} is not approved: {flaw}. Next: somebody else runs slipway approve {subject}")
        if now.evidence is None:
            raise refused(f"{subject} cannot be approved: never checked. Next: slipway check {subject}")
        if shape.digest not in (None, now.evidence.digest):
            raise refused(f"{subject} was checked again, with other bytes. Next: slipway history {found.name}")
        body = ApprovedBody(digest=now.evidence.digest, evidence=now.evidence.entry, comment=shape.comment)
        self._append(session, Kind.APPROVED, found.name, found.version, body)

    def _show(self, session: Session, found: SqlModelVersion) -> None:
        now = self._standing(session, found)
        if now.evidence:
            rules = self._policy().rules(found.name, Stage.PRODUCTION)
            now = replace(now, evidence=judged(now.evidence, rules, self._champion(session, found.name)))
        for key, value in shown.tags(now).items():
            if value is None:
                super().delete_model_version_tag(found.name, found.version, key)
            else:
                super().set_model_version_tag(found.name, found.version, ModelVersionTag(key, value))

    # --- coming and going

    def create_model_version(
        self,
        name: str,
        source: str,
        run_id: str | None = None,
        tags: Sequence[ModelVersionTag] | None = None,
        *args: object,
        **kwargs: object,
    ) -> MlflowVersion:
        """Register a version; slipway's tags on it (a copy carries them) are left out, its authors written down."""
        kept = [tag for tag in tags or () if not shown.is_protected(tag.key)]
        with self._sessions.transaction() as session:
            made = super().create_model_version(name, source, run_id, kept, *args, **kwargs)
            body = RegisteredBody(
                authors=self._authors(session, made), source=source, run_id=made.run_id or None,
                created=made.creation_timestamp,
            )  # fmt: skip
            self._append(session, Kind.REGISTERED, name, _number(made.version), body)
            return made

    def _authors(self, session: Session, made: MlflowVersion) -> tuple[str, ...]:
        """Who registers it, and whoever answers for a version it was copied from: a copy launders nobody."""
        authors = {current_actor().name}
        if made.source.startswith("models:/"):
            origin = _parse_model_uri(made.source)
            if origin.name and origin.version:
                copied = self._get_sql_model_version(session, origin.name, origin.version)
                authors |= set(self._standing(session, copied).authors)
        same = self._get_query(session, SqlModelVersion).filter(
            SqlModelVersion.source == made.source, SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
        )
        for row in same:
            authors |= set(self._standing(session, row).authors)
        return tuple(sorted(authors))

    def delete_model_version(self, name: str, version: int | str) -> None:
        """Delete a version that nobody relies on."""
        with self._sessions.transaction() as session:
            tables.lock(session)
            self._leave(session, self._get_sql_model_version(session, name, _number(version)), "deleted")
            super().delete_model_version(name, version)

    def delete_registered_model(self, name: str) -> None:
        """Delete a model none of whose versions anybody relies on."""
        with self._sessions.transaction() as session:
            tables.lock(session)
            for found in self._versions(session, name):
                self._leave(session, found, "deleted")
            super().delete_registered_model(name)

    def rename_registered_model(self, name: str, new_name: str) -> RegisteredModel:
        """Rename a model none of whose versions anybody relies on; its authors stay its authors."""
        with self._sessions.transaction() as session:
            tables.lock(session)
            for found in self._versions(session, name):
                authors = self._standing(session, found).authors
                self._leave(session, found, "renamed")
                body = RegisteredBody(
                    authors=authors, source=found.source, run_id=found.run_id, created=found.creation_time
                )
                self._append(session, Kind.REGISTERED, new_name, found.version, body)
            return super().rename_registered_model(name, new_name)

    def update_model_version(self, name: str, version: int | str, description: str | None = None) -> MlflowVersion:
        """Describe a version, until somebody has approved it: what was approved stays as it was read."""
        with self._sessions.transaction() as session:
            found = self._get_sql_model_version(session, name, _number(version))
            if self._standing(session, found).protected:
                raise refused(f"{name}/{version} is approved, its description stays as it was read")
            return super().update_model_version(name, version, description)

    def _versions(self, session: Session, name: str) -> list[SqlModelVersion]:
        query = self._get_query(session, SqlModelVersion).filter(
            SqlModelVersion.name == name, SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
        )
        return list(query)

    def _leave(self, session: Session, found: SqlModelVersion, word: str) -> None:
        subject, stage = f"{found.name}/{found.version}", Stage(found.current_stage)
        if stage.alias:
            raise refused(f"{subject} cannot be {word}: it is in {stage.value}. Next: archive it first")
        if self._standing(session, found).protected:
            raise refused(f"{subject} cannot be {word}: it was approved or released, and is a way back")
        self._append(session, Kind.DELETED, found.name, found.version, DeletedBody(source=stage.value))

    # --- the ledger

    def ledger_page(self, model: str | None = None, version: int | None = None, after: int = 0) -> LedgerPage:
        """The next ledger entries after number `after`: of one version, one model, or all."""
        with self.ManagedSessionMaker() as session:
            seq, end = tables.head(session)
            entries = tables.page(session, model, version, after, PAGE)
            return LedgerPage(entries=tuple(map(EntryShape.of, entries)), head_seq=seq, head_hash=end)

    def _append(
        self, session: Session, kind: Kind, model: str, version: int, body: Shape, at: datetime | None = None
    ) -> Entry:
        actor: Actor = current_actor()
        return tables.append(session, Draft(at or self._clock(), kind, model, version, actor, body.dump()))

    def _policy(self) -> policy.Policy:
        try:
            return policy.load()
        except PolicyInvalid as error:
            # 400, not 500: a client would retry that for minutes.
            raise MlflowException(str(error), error_code=INVALID_PARAMETER_VALUE) from error


def _number(version: int | str) -> int:
    try:
        return int(version)
    except ValueError:
        raise MlflowException(f"{version!r} is no version number", error_code=INVALID_PARAMETER_VALUE) from None


def _parsed(shape: type[EvidenceShape] | type[ApprovalShape], text: str, what: str):  # type: ignore[no-untyped-def]
    try:
        return read(shape, text)
    except ValueError as error:
        raise MlflowException(f"{what} is not understood: {error}", error_code=INVALID_PARAMETER_VALUE) from None


def _approval_of(text: str, subject: str) -> ApprovalShape:
    """A client sends JSON; a person typing into the registry UI's tag dialog sends a comment."""
    if text.lstrip().startswith("{"):
        return _parsed(ApprovalShape, text, f"approval of {subject}")
    return ApprovalShape(comment=text.strip()[:2000])
