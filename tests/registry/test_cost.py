# mypy: disallow-untyped-calls=False
# MLflow's store carries no annotations.
"""What a promotion asks of the database does not depend on how much is in it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from registry.read_database import DatabaseReader
from registry.reading import entries
from registry.store import GovernedStore
from tests.registry.saying import evidence


def queries(engine: sa.Engine, act: Callable[[], object]) -> int:
    """How many statements does this send to the database?"""
    seen: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_: object) -> None:
        seen.append(statement)

    sa.event.listen(engine, "before_cursor_execute", note)
    act()
    sa.event.remove(engine, "before_cursor_execute", note)
    return len(seen)


def filled(path: Path, pristine: Path, monkeypatch: pytest.MonkeyPatch, models: int, versions: int) -> GovernedStore:
    """A registry of so many models and versions; of m0, 1 is in Production, and 2 is approved beside it."""
    shutil.copy(pristine, path)
    store = GovernedStore(f"sqlite:///{path}")
    for m in range(models):
        store.create_registered_model(f"m{m}")
        for number in range(1, versions + 1):
            monkeypatch.setenv("SLIPWAY_USER", "ana")
            store.create_model_version(f"m{m}", f"/files/{m}/{number}")
            paired = (1, evidence().digest) if m == 0 and number > 1 else None
            checked = ModelVersionTag("slipway.evidence", evidence(paired=paired).dump())
            store.set_model_version_tag(f"m{m}", number, checked)
            monkeypatch.setenv("SLIPWAY_USER", "bo")
            store.set_model_version_tag(f"m{m}", number, ModelVersionTag("slipway.approval", "fine"))
            if number == 1:
                store.transition_model_version_stage(f"m{m}", 1, "Production", True)
    return store


def test_a_promotion_makes_as_many_queries_in_a_large_registry_as_in_a_small_one(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = filled(tmp_path / "small.db", pristine, monkeypatch, 1, 2)
    large = filled(tmp_path / "large.db", pristine, monkeypatch, 6, 8)
    assert queries(small.engine, partial(promote, small)) == queries(large.engine, partial(promote, large))
    assert large.get_model_version_by_alias("m0", "champion").version == 2
    few, many = (DatabaseReader(f"sqlite:///{tmp_path / name}.db") for name in ("small", "large"))
    assert queries(few._engine, partial(read, few)) == queries(many._engine, partial(read, many))


def test_what_waits_is_listed_in_as_many_queries_where_much_waits_and_as_each_versions_own_page_says(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    small = filled(tmp_path / "small.db", pristine, monkeypatch, 1, 2)
    large = filled(tmp_path / "large.db", pristine, monkeypatch, 5, 4)
    assert queries(small.engine, small.waiting) == queries(large.engine, large.waiting)
    listed = large.waiting()
    assert [str(one.found) for one in listed] == [f"m{m}/{n}" for m in (4, 3, 2, 1, 0) for n in (4, 3, 2)]
    for one in listed:
        alone = large.shown(one.found.model, one.found.number)
        assert alone is not None
        assert (one.standing, one.decision) == (alone[0].standing, alone[0].decision)
    assert [str(one.found) for one in large.waiting(limit=2)] == ["m4/4", "m4/3"]


def promote(store: SqlAlchemyStore) -> None:
    store.transition_model_version_stage("m0", 2, "Production", True)


def read(reader: DatabaseReader) -> None:
    assert reader.model("m0")
    assert reader.version("m0", 2)
    assert len(entries(reader, "m0", 2)) >= 3


def test_a_gated_promotion_asks_little_more_than_mlflows_own(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ours = filled(tmp_path / "ours.db", pristine, monkeypatch, 1, 2)
    shutil.copy(tmp_path / "ours.db", tmp_path / "theirs.db")
    theirs = SqlAlchemyStore(f"sqlite:///{tmp_path / 'theirs.db'}")
    gated = queries(ours.engine, partial(promote, ours))
    plain = queries(theirs.engine, partial(promote, theirs))
    assert gated <= plain + 5, "the lock, two readings of the ledger, and the two lines of the new entry"
