"""What does the registry hold? Read without MLflow, whose import alone takes longer than any answer.

Where the registry is follows from the same variables as for MLflow itself. One Protocol, `Reader`, stands before a
database (`read_database`) and a server (`read_server`); tests/registry/test_reading.py asks the same of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from registry import advisory, missing
from registry.errors import VersionMissing
from registry.ledger import Entry
from registry.whereabouts import HTTP, SCHEME, registry_uri, require_file, tracking_uri
from registry.wire import LedgerPage
from registry.words import ModelVersion, Stage


@dataclass(frozen=True, slots=True)
class Model:
    """A registered model's name, and which version each of its aliases points at."""

    name: str
    aliases: Mapping[str, int]


class Reader(Protocol):
    """One registry, for reading; nothing here changes anything, not even makes a table."""

    def page(self, model: str | None, version: int | None, after: int) -> LedgerPage:
        """The next ledger entries after a number, of one version, one model or all; empty where nothing was said."""

    def advisory(self) -> bool:
        """Is what we decide here only advice? True of a server that runs without slipway (`advisory`)."""

    def model(self, name: str) -> Model | None:
        """A model by name; None when there is none."""

    def version(self, model: str, number: int) -> ModelVersion | None:
        """A version by number; None when there is none, or it was deleted."""

    def numbers(self, model: str) -> Sequence[int]:
        """The numbers of all versions of a model."""

    def models(self) -> Sequence[Model]:
        """All models, by name."""


def reader() -> Reader:
    """The registry that the environment names.

    Raises:
        RegistryMisconfigured: when it names none, or a file that does not exist.
    """
    uri = registry_uri(tracking_uri())
    if uri.startswith(HTTP):
        from registry.read_server import server_reader

        return server_reader(uri)
    from registry.read_database import DatabaseReader

    database = uri.removeprefix(SCHEME)
    require_file(database)
    return DatabaseReader(database)


def advice(of: Reader | None = None) -> str | None:
    """What must be said of a registry whose server runs without slipway; None of any other."""
    return advisory.notice(registry_uri(tracking_uri())) if (of or reader()).advisory() else None


def entries(of: Reader, model: str | None = None, version: int | None = None, after: int = 0) -> list[Entry]:
    """All ledger entries of one version, one model, or everything, after a number; oldest first."""
    return _all(of, model, version, after)[0]


def _all(
    of: Reader, model: str | None = None, version: int | None = None, after: int = 0
) -> tuple[list[Entry], tuple[int, str]]:
    found: list[Entry] = []
    while True:
        page = of.page(model, version, found[-1].seq if found else after)
        found += [shape.entry() for shape in page.entries]
        if not page.entries or found[-1].seq >= page.head_seq:
            return found, (page.head_seq, page.head_hash)


def ledger(model: str | None = None, version: int | None = None, after: int = 0) -> list[Entry]:
    """All ledger entries of one version, one model, or everything, after a number; oldest first."""
    return entries(reader(), model, version, after)


def whole_ledger() -> tuple[list[Entry], tuple[int, str]]:
    """Every entry, and what the head says: the number and hash of the last."""
    return _all(reader())


def require_model(name: str, of: Reader | None = None) -> Model:
    """The model of this name.

    Raises:
        VersionMissing: naming the models that there are.
    """
    of = of or reader()
    found = of.model(name)
    if found is None:
        raise VersionMissing(missing.model(name, [model.name for model in of.models()]))
    return found


def model_version(model: str, number: int, of: Reader | None = None) -> ModelVersion:
    """One version by number.

    Raises:
        VersionMissing: naming what is there instead.
    """
    of = of or reader()
    found = of.version(model, number)
    if found is None:
        require_model(model, of)
        raise VersionMissing(missing.version(model, number, of.numbers(model)))
    return found


def in_stage(model: str, stage: Stage, of: Reader | None = None) -> ModelVersion | None:
    """The version that stands in a stage with an alias, if any does.

    Raises:
        VersionMissing: when there is no such model.
    """
    of = of or reader()
    number = require_model(model, of).aliases.get(str(stage.alias))
    return None if number is None else model_version(model, number, of)
