# mypy: disallow-untyped-calls=False
# MLflow's own functions carry no annotations.
"""The client's side of the registry: MLflow's calls, and nothing decided here.

Reads and writes go where the URIs point: to a server over REST, or straight to a database through the `slipway:` store.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import mlflow
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient
from mlflow.tracking._model_registry.utils import _get_store
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request
from pydantic import ValidationError

from registry.advisory import TagPages
from registry.book import TAKERS, Book, Found
from registry.errors import (
    PromotionRefused,
    RegistryError,
    RegistryMisconfigured,
    RegistryUnreachable,
    VersionMissing,
)
from registry.identity import claimed_name, current_call
from registry.ledger import Entry
from registry.promotion import Case, decide
from registry.read_server import Answer, Ask, server_reader
from registry.reading import in_stage, ledger, model_version, reader, require_model, whole_ledger
from registry.shown import APPROVAL_TAG, EVIDENCE_TAG, GLASS_TAG
from registry.store import GovernedStore
from registry.whereabouts import HTTP, SCHEME, registry_uri, require_file, unreachable
from registry.wire import EvidenceShape, GlassShape, WordShape
from registry.words import Actor, ModelVersion, Stage

__all__ = ["in_stage", "ledger", "model_version", "require_model", "whole_ledger"]  # read without MLflow, from here too


@dataclass(frozen=True, slots=True)
class Connection:
    """Where runs and where versions are kept."""

    tracking: str
    registry: str


def connect() -> Connection:
    """Point MLflow at the tracking server or database, and at the governed registry beside it.

    Tracking: MLFLOW_TRACKING_URI, else MLflow's default. Registry: MLFLOW_REGISTRY_URI, else the tracking database
    through `slipway:`, else the tracking server itself. A database is never opened without `slipway:`.

    A database that is not there yet is made by the first write to it, as training does; who only reads connects by
    `connect_existing`.

    Raises:
        RegistryMisconfigured: when the tracking URI is a folder, which cannot hold a registry.
        RegistryUnreachable: when it is a server that does not answer.
    """
    tracking = mlflow.get_tracking_uri()
    uri = registry_uri(tracking)
    mlflow.set_tracking_uri(tracking)
    _set_registry_uri(uri)
    # The sagemaker SDK brings sagemaker-mlflow along, whose header plugin trips over every URI that is no ARN and warns
    # at each request (seen with sagemaker-mlflow 0.5.0, 2026-11).
    logging.getLogger("mlflow.tracking.request_header.registry").addFilter(_quiet)
    if not sys.stderr.isatty():
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    for address in {tracking, uri}:
        _require_answer(address)
    return Connection(tracking, uri)


def connect_existing() -> Connection:
    """Connect to a registry that is there already, for whoever does not mean to make one.

    Raises:
        RegistryMisconfigured: as `connect`, and when the database is a file that does not exist.
    """
    found = connect()
    if found.registry.startswith(SCHEME):
        require_file(found.registry.removeprefix(SCHEME))
    return found


def _require_answer(uri: str) -> None:
    """Ask a server once, without MLflow's retries: any answer at all will do."""
    if not uri.startswith(HTTP):
        return
    try:
        http_request(get_default_host_creds(uri), "/health", "GET", max_retries=0, timeout=10, raise_on_status=False)
    except MlflowException as error:
        raise RegistryUnreachable(unreachable(uri, str(error.message))) from error


def _quiet(record: logging.LogRecord) -> bool:
    return "list index out of range" not in record.getMessage()


def _set_registry_uri(uri: str) -> None:
    """Point MLflow at a registry; what the user said in the environment stays said."""
    said = os.environ.get("MLFLOW_REGISTRY_URI")
    mlflow.set_registry_uri(uri)  # writes the variable too, which would outlive a change of the tracking URI
    if said is None:
        os.environ.pop("MLFLOW_REGISTRY_URI", None)
    else:
        os.environ["MLFLOW_REGISTRY_URI"] = said


def register_candidate(name: str, *, run_id: str, source: str) -> ModelVersion:
    """Register a logged model (`models:/m-...` or `runs:/...`) as the next version of `name`, by us."""
    connect()
    with mapped():
        made = mlflow.register_model(source, name, await_registration_for=0)
        if made.run_id != run_id:
            raise RegistryMisconfigured(f"{source} was logged by run {made.run_id}, not by {run_id}")
    version = _word(made)
    if _advising():
        book = _book_in_tags()
        book.register(_found(version), {book.actor.name})
    return version


def send_evidence(version: ModelVersion, evidence: EvidenceShape) -> None:
    """Hand evidence to the registry, which writes it to the ledger."""
    _say(version, EVIDENCE_TAG, evidence.dump())


def send_approval(version: ModelVersion, approval: WordShape) -> None:
    """Approve a version as whoever we are."""
    send_word(version, APPROVAL_TAG, approval)


def send_word(version: ModelVersion, key: str, word: WordShape) -> None:
    """Approve, reject or withdraw (each has its tag) as whoever we are."""
    _say(version, key, word.dump())


def own_name() -> str:
    """The name that the registry knows us by: a login's, or the one we claim."""
    uri = mlflow.get_registry_uri()
    if not uri.startswith(HTTP):
        return claimed_name()
    known = get_default_host_creds(uri)
    by_token = server_reader(uri).own_name() if known.token and not known.username else None
    return known.username or by_token or claimed_name()


def break_glass(version: ModelVersion, stage: Stage, reason: str) -> ModelVersion:
    """Ask for a move that overrides gates and approvals, and say why."""
    try:
        asked = GlassShape(reason=reason, stage=stage.value)
    except ValidationError:
        raise RegistryMisconfigured("breaking the glass takes a reason of at least ten characters. "
                                    "Next: say why, as whoever reads the ledger should know it") from None
    if _advising():
        return _advised_move(version, stage, reason)
    _tag(version, GLASS_TAG, asked.dump())
    return model_version(version.name, version.number)


def _tag(version: ModelVersion, key: str, value: str) -> None:
    with mapped():
        MlflowClient().set_model_version_tag(version.name, str(version.number), key, value)


def move(version: ModelVersion, stage: Stage) -> ModelVersion:
    """Ask the registry to move a version; it decides.

    Raises:
        PromotionRefused: with every reason.
    """
    if _advising():
        return _advised_move(version, stage, None)
    store = _get_store()
    with mapped():
        archive = stage.alias is not None
        return _word(store.transition_model_version_stage(version.name, str(version.number), stage.value, archive))


# --- on a server without slipway: the same rules, decided here


def _advising() -> bool:
    return mlflow.get_registry_uri().startswith(HTTP) and reader().advisory()


def _say(version: ModelVersion, key: str, text: str) -> None:
    if not _advising():
        _tag(version, key, text)
        return
    book, found = _book_in_tags(), _found(version)
    if book.standing(found).created is None:
        book.register(found, {_trainer(version) or book.actor.name})
    TAKERS[key](book, found, text)


def _book_in_tags() -> Book:
    return Book(TagPages(ledger, _write_tag), Actor(own_name()), datetime.now(UTC), current_call())


def _write_tag(model: str, number: int, key: str, value: str) -> None:
    try:
        with mapped():
            MlflowClient().set_model_version_tag(model, str(number), key, value)
    except PromotionRefused as error:  # the store is ours, only the server around it is not
        uri = mlflow.get_registry_uri()
        raise RegistryMisconfigured(f"{uri} shows no ledger. Next: start it with --app-name slipway") from error


def _found(version: ModelVersion) -> Found:
    with mapped():
        told = MlflowClient().get_model_version(version.name, str(version.number))
    return Found(_word(told), int(told.creation_timestamp), told.source or "")


def _trainer(version: ModelVersion) -> str | None:
    """Who ran the run behind a version, as MLflow recorded it."""
    try:
        return MlflowClient().get_run(version.run_id).data.tags.get("mlflow.user") if version.run_id else None
    except MlflowException:
        return None  # a version may outlive its run


def _advised_move(version: ModelVersion, target: Stage, glass: str | None) -> ModelVersion:
    book, found, stands = _book_in_tags(), _found(version), in_stage(version.name, Stage.PRODUCTION)
    case = Case(
        model=version.name, version=version.number, current=found.version.stage, target=target, mover=book.actor,
        standing=book.standing(found), champion=book.champion(_found(stands)) if stands else None, glass=glass,
    )  # fmt: skip
    aliases = require_model(version.name).aliases
    own = {alias for alias, number in aliases.items() if number == version.number and Stage.of_alias(alias)}
    if (case.current, own) == (target, {target.alias} - {None}) and case.standing.stands_on:
        return found.version
    decision = decide(case, book.rules(version.name, target), book.now)
    if not decision:
        raise PromotionRefused(str(decision))
    with mapped():
        listed = MlflowClient().search_model_versions(f"name = '{version.name}'") if target.alias else ()
    there = tuple(sorted(int(v.version) for v in listed if v.current_stage == target.value))
    book.move(case, decision, tuple(number for number in there if number != version.number), "advised")
    return _carry_out(version, target, own)


def _carry_out(version: ModelVersion, target: Stage, own: set[str]) -> ModelVersion:
    """MLflow's own calls, stage and alias: after the entry, so that a move that died halfway is made again."""
    store, number = _get_store(), str(version.number)
    with mapped():
        store.transition_model_version_stage(version.name, number, target.value, target.alias is not None)
        if target.alias:
            store.set_registered_model_alias(version.name, target.alias, number)
        for alias in own - {target.alias}:
            store.delete_registered_model_alias(version.name, alias)
    return model_version(version.name, version.number)


def adopt(dry_run: bool) -> list[str]:
    """Take versions that were here before slipway into the ledger; says what was, or would be, done."""
    with mapped():
        return _governed().adopt(dry_run)


def restore(entries: list[Entry]) -> int:
    """Write exported entries into the database that we are connected to; answers how many were new.

    Raises:
        LedgerBroken: when they do not continue what is there.
    """
    with mapped():
        return _governed().restore(entries)


def _governed() -> GovernedStore:
    store, uri = _get_store(), mlflow.get_registry_uri()
    if not isinstance(store, GovernedStore):
        raise RegistryMisconfigured(f"{uri} is no database of ours. Next: set MLFLOW_REGISTRY_URI={SCHEME}<database>")
    return store


def ask_signed(uri: str) -> Ask:
    """Ask a server by GET through MLflow, whose plugins sign what nobody else can."""

    def ask(path: str, params: Mapping[str, str]) -> Answer:
        with mapped():
            answer = http_request(get_default_host_creds(uri), path, "GET", params=dict(params), raise_on_status=False)
        return Answer(answer.status_code, answer.text)

    return ask


def _word(found: MlflowVersion) -> ModelVersion:
    return ModelVersion(
        name=found.name,
        number=int(found.version),
        run_id=found.run_id or "",
        source=found.source or "",
        stage=Stage(found.current_stage or "None"),
    )


_NAMED = {
    "PERMISSION_DENIED": PromotionRefused,
    "RESOURCE_DOES_NOT_EXIST": VersionMissing,
    "INVALID_PARAMETER_VALUE": RegistryMisconfigured,
}


@contextmanager
def mapped() -> Iterator[None]:
    """MLflow's errors become ours, here and nowhere else."""
    try:
        yield
    except MlflowException as error:
        kind = _NAMED.get(error.error_code, RegistryUnreachable)
        raise kind(str(error.message).removeprefix(f"{error.error_code}: ")) from error
    except RegistryError:
        raise
    except OSError as error:
        raise RegistryUnreachable(f"{mlflow.get_registry_uri()} does not answer: {error}") from error
