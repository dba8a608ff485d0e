# mypy: disallow-untyped-calls=False
# MLflow's own methods carry no annotations, and this module is made of calls to them.
"""The `slipway:` registry store: MLflow's own, with every change decided and written to the ledger in one transaction.

It sits under the REST API, the registry UI and the Python client alike, so none of them goes around it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import sqlalchemy as sa
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModel, RegisteredModelTag
from mlflow.entities.model_registry.model_version_stages import STAGE_DELETED_INTERNAL, get_canonical_stage
from mlflow.exceptions import MlflowException
from mlflow.prompt.constants import IS_PROMPT_TAG_KEY
from mlflow.protos.databricks_pb2 import PERMISSION_DENIED
from mlflow.store.artifact.utils.models import _parse_model_uri
from mlflow.store.model_registry.dbmodels.models import SqlModelVersion
from mlflow.utils.time import get_current_time_millis

from registry import plain_tables, shown
from registry.book import TAKERS, Found
from registry.errors import PromotionRefused
from registry.freeze import stored_at
from registry.gates import rival
from registry.origins import settled
from registry.promotion import Case, decide, judged
from registry.spelling import looks, one_line
from registry.store_rows import OpenBook, StoreRows, found_in
from registry.views import Refusal
from registry.whereabouts import SCHEME
from registry.wire import GlassShape, WordShape, read
from registry.words import Stage

_LONGEST = 1_000_000  # characters of evidence: about 7,000 files


def open_store(store_uri: str, **_: object) -> GovernedStore:
    """MLflow's entry point: `slipway:` in front of any database URI that MLflow takes."""
    return GovernedStore(store_uri.removeprefix(SCHEME))


def taken_for(alias: str) -> Stage | None:
    """Which stage would a reader take this alias for: by its own alias, by its name, in any case or alphabet?"""
    words = ((stage, word) for stage in Stage if stage.alias for word in (stage.alias, stage.value))
    return next((stage for stage, word in words if looks(alias) == looks(word)), None)


def _require_not_ours(tags: Sequence[RegisteredModelTag]) -> None:
    for tag in tags:
        if shown.is_taken_for_ours(tag.key):
            raise MlflowException(f"tag {tag.key} is slipway's alone", error_code=PERMISSION_DENIED)


def _require_no_prompt(tag: RegisteredModelTag | ModelVersionTag) -> None:
    """MLflow leaves prompts out when it lists models, so that a model that became one would not be seen."""
    if tag.key == IS_PROMPT_TAG_KEY:
        raise MlflowException("a model does not become a prompt. Next: make a prompt", error_code=PERMISSION_DENIED)


def _described(description: str | None) -> str:
    """What somebody may write about a version.

    Raises:
        PromotionRefused: when a reader could take it for what the registry says.
        ValueError: when it leaves the registry no room to say anything.
    """
    own = shown.own_words(description)
    if shown.speaks_for_us(own):
        raise PromotionRefused("this description would be taken for slipway's. Next: say it in other words")
    if len(own) > shown.LONGEST_WORDS:
        raise ValueError(f"a description of {len(own)} characters; at most {shown.LONGEST_WORDS} leave room for ours")
    return own


class GovernedStore(StoreRows):
    """MLflow's database store, where stage, alias, protected tags, deletion and renaming follow the policy."""

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
        stage = taken_for(alias)
        if stage is None or (alias != stage.alias and self.get_registered_model(name)._is_prompt()):
            super().set_registered_model_alias(name, alias, version)
            return
        with self._book() as book:
            if alias != stage.alias:
                raise ValueError(f"@{one_line(alias)} would be taken for @{stage.alias}. Next: use @{stage.alias}")
            self._move(book, name, version, stage, "alias")

    def delete_registered_model_alias(self, name: str, alias: str) -> None:
        """Delete an alias; without @champion or @challenger its version is archived."""
        stage = Stage.of_alias(alias.lower())  # some databases do not tell upper and lower case apart
        if stage is None:
            super().delete_registered_model_alias(name, alias)
            return
        with self._book() as book:
            if alias != stage.alias:
                raise ValueError(f"there is no @{alias}. Next: use @{stage.alias}")
            number = self._aliases(book.session, name).get(alias)
            if number is not None:
                self._move(book, name, number, Stage.ARCHIVED, "alias")

    def _move(
        self, book: OpenBook, name: str, version: int | str, target: Stage, via: str, glass: str | None = None
    ) -> MlflowVersion:
        rows, aliases = self._movable(book.session, name, version), self._aliases(book.session, name)
        row = rows[int(version)]
        found, now = found_in(row), book.standing(found_in(row))
        own = {alias for alias, number in aliases.items() if number == found.number and Stage.of_alias(alias)}
        stands = found.version.stage is target and own == {target.alias} - {None}
        if not stands or (target.alias and now.stands_on is None):  # adopted versions stand on nothing yet
            case = Case(
                model=found.model, version=found.number, current=found.version.stage, target=target, mover=book.actor,
                standing=now, champion=self._champion(book, found.model, aliases, rows), glass=glass,
            )  # fmt: skip
            decision = decide(case, book.rules(found.model, target), book.now)
            if not decision:
                raise PromotionRefused(str(decision), case.subject)
            there = [r for n, r in rows.items() if n != found.number and r.current_stage == target.value]
            displaced = sorted(there, key=lambda r: r.version) if target.alias else []
            book.move(case, decision, tuple(int(r.version) for r in displaced), via)
            aliases = self._carry_out(book, row, target, displaced, aliases)
            if not all(approval.entry for approval in decision.approvals):
                self._show(book, found)  # the move itself was an approval
        made: MlflowVersion = row.to_mlflow_entity()
        made.aliases = [alias for alias, number in aliases.items() if number == found.number]
        return made

    def _carry_out(
        self, book: OpenBook, row: Any, target: Stage, displaced: Sequence[Any], aliases: dict[str, int]
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
            book.freeze(found_in(row))
        return kept

    # --- evidence and reviewers' words travel as tags

    def set_model_version_tag(self, name: str, version: int | str, tag: ModelVersionTag) -> None:
        """Set a tag; evidence and reviewers' words become ledger entries, other slipway.* tags are refused."""
        if not shown.is_taken_for_ours(tag.key):
            _require_no_prompt(tag)
            super().set_model_version_tag(name, version, tag)
            return
        with self._book() as book:
            found, text = self._found(book, name, version), tag.value or ""
            if len(text) > _LONGEST:
                raise ValueError(f"{tag.key} of {len(text)} characters, at most {_LONGEST} are taken")
            if tag.key == shown.GLASS_TAG:
                glass = read(GlassShape, text)
                self._move(book, name, version, Stage(glass.stage), "break-glass", glass.reason)
            elif tag.key in TAKERS:
                TAKERS[tag.key](book, found, text)
            else:
                raise PromotionRefused(f"tag {tag.key} is slipway's alone. Next: slipway approve {found}", str(found))
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
        _require_not_ours([tag])
        _require_no_prompt(tag)
        super().set_registered_model_tag(name, tag)

    def create_registered_model(
        self, name: str, tags: Sequence[RegisteredModelTag] | None = None, *args: Any, **kwargs: Any
    ) -> RegisteredModel:
        """Make a model, none of whose tags claims to be slipway's."""
        _require_not_ours(tags or ())
        return cast(RegisteredModel, super().create_registered_model(name, tags, *args, **kwargs))

    def _show(self, book: OpenBook, found: Found) -> None:
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
        kept, source = [tag for tag in tags or () if not shown.is_taken_for_ours(tag.key)], settled(source, run_id)
        with self._sessions.transaction() as session:
            made = super().create_model_version(name, source, run_id, kept, *args, **kwargs)
            with self._book() as book:
                row = self._get_sql_model_version(book.session, name, made.version)
                row.description = made.description = _described(row.description) or None
                found = found_in(row)
                book.register(found, {book.actor.name} | self._authors(book, source, found))
            session.flush()
            return cast(MlflowVersion, made)

    def _authors(self, book: OpenBook, source: str, new: Found) -> set[str]:
        """Whoever answers for these files already: registering them again, or copying, launders nobody."""
        place = stored_at(new.location)
        alike = [SqlModelVersion.source == source, SqlModelVersion.storage_location == new.location]
        if place:  # however the address in front of it is spelled
            alike.append(SqlModelVersion.storage_location.endswith(f"/{place}", autoescape=True))
        same = self._get_query(book.session, SqlModelVersion).filter(
            sa.or_(*alike), SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
        )
        found = [found_in(row) for row in same]
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
            super().update_model_version(name, version, _described(description))
            self._show(book, found)
            return cast(MlflowVersion, self.get_model_version(name, version))

    # --- what a reviewer looks at

    def say(self, name: str, version: int, word: str, said: WordShape) -> Refusal | None:
        """Write down an approval, a rejection or a withdrawal; why not, when it is refused."""
        try:
            self.set_model_version_tag(name, version, ModelVersionTag(f"{shown.PREFIX}{word}", said.dump()))
        except MlflowException as refused:
            return Refusal(str(refused.message), refused.get_http_status_code())
        return None

    # --- what was here before

    def adopt(self, dry_run: bool) -> list[str]:
        """Write every version that the ledger does not know into it, as it stands; says what was, or would be, done."""
        told: list[str] = []
        with self._book() as book:
            rows = self._get_query(book.session, SqlModelVersion).filter(
                SqlModelVersion.current_stage != STAGE_DELETED_INTERNAL
            )
            for found in [found_in(row) for row in rows.order_by(SqlModelVersion.name, SqlModelVersion.version)]:
                if book.standing(found).created is None:
                    told.append(self._adopted(book, found))
                    if not dry_run:
                        book.adopt(found)
        return told

    def _adopted(self, book: OpenBook, found: Found) -> str:
        stage, aliases = found.version.stage, self._aliases(book.session, found.model)
        own = {a for a, n in aliases.items() if n == found.number and Stage.of_alias(a)}
        wanted = {stage.alias} - {None}
        apart = f"; out of step: {', '.join(sorted(f'@{a}' for a in own)) or 'no alias'}" if own != wanted else ""
        needs = f"; next: slipway check {found}, then promote it" if stage.alias or own else ""
        return f"{found} in {stage.value}{apart}{needs}"
