# mypy: disallow-untyped-calls=False
# MLflow's store carries no annotations.
"""What a move changes and what it leaves alone, asked of the store itself."""

from __future__ import annotations

import pytest
from mlflow.entities.model_registry import ModelVersionTag
from mlflow.exceptions import MlflowException
from mlflow.store.model_registry.sqlalchemy_store import SqlAlchemyStore

from registry.ledger import Kind
from registry.store import GovernedStore
from tests.registry.saying import evidence


@pytest.fixture
def store(anas: GovernedStore, monkeypatch: pytest.MonkeyPatch) -> GovernedStore:
    """Ana's three versions, each checked by ci and approved by bo."""
    for number, letter in enumerate("abc", 1):
        anas.create_model_version("images", f"s3://bucket/{letter}")
        monkeypatch.setenv("SLIPWAY_USER", "ci")
        anas.set_model_version_tag("images", number, ModelVersionTag("slipway.evidence", evidence(letter).dump()))
        monkeypatch.setenv("SLIPWAY_USER", "bo")
        anas.set_model_version_tag("images", number, ModelVersionTag("slipway.approval", "fine"))
        monkeypatch.setenv("SLIPWAY_USER", "ana")
    return anas


def move(store: GovernedStore, number: int, stage: str) -> list[str]:
    """The aliases that the version has afterwards."""
    return sorted(store.transition_model_version_stage("images", number, stage, True).aliases)


def stands(store: GovernedStore) -> dict[int, tuple[str, list[str]]]:
    found = {n: store.get_model_version("images", n) for n in (1, 2, 3)}
    return {n: (version.current_stage, sorted(version.aliases)) for n, version in found.items()}


def moves(store: GovernedStore) -> list[int]:
    return [entry.version for entry in store.said_of("images") if entry.kind is Kind.MOVED]


def test_a_version_that_stands_where_it_is_wanted_is_not_moved_whatever_other_aliases_there_are(
    store: GovernedStore,
) -> None:
    for alias, number in (("mine", 1), ("yours", 2)):
        store.set_registered_model_alias("images", alias, number)
    assert move(store, 1, "Production") == ["champion", "mine"]
    store.set_model_version_tag("images", 2, ModelVersionTag("note", "ours it is not"))
    before = stands(store)
    for _ in range(2):
        assert move(store, 1, "Production") == ["champion", "mine"]
        store.set_registered_model_alias("images", "champion", 1)
    assert stands(store) == before == {
        1: ("Production", ["champion", "mine"]), 2: ("None", ["yours"]), 3: ("None", [])}  # fmt: skip
    assert moves(store) == [1]


def test_who_stands_in_one_stage_is_not_moved_by_who_stands_in_the_other(store: GovernedStore) -> None:
    move(store, 1, "Production")
    rival = evidence("b", paired=(1, evidence("a").digest))
    store.set_model_version_tag("images", 2, ModelVersionTag("slipway.evidence", rival.dump()))
    assert move(store, 2, "Staging") == ["challenger"]
    for _ in range(2):
        assert move(store, 2, "Staging") == ["challenger"]
        assert move(store, 1, "Production") == ["champion"]
    assert stands(store) == {1: ("Production", ["champion"]), 2: ("Staging", ["challenger"]), 3: ("None", [])}
    assert moves(store) == [1, 2]


def test_an_alias_that_is_no_stage_comes_and_goes_and_nothing_else_changes(store: GovernedStore) -> None:
    move(store, 1, "Production")
    store.set_registered_model_alias("images", "mine", 1)
    store.delete_registered_model_alias("images", "mine")
    with pytest.raises(MlflowException, match="mine"):
        store.get_model_version_by_alias("images", "mine")
    assert stands(store)[1] == ("Production", ["champion"])
    assert moves(store) == [1]


def test_without_its_alias_a_version_stands_nowhere_and_an_alias_that_nobody_has_changes_nothing(
    store: GovernedStore,
) -> None:
    store.delete_registered_model_alias("images", "champion")
    assert moves(store) == []
    move(store, 1, "Production")
    store.delete_registered_model_alias("images", "challenger")
    assert stands(store)[1] == ("Production", ["champion"])
    store.delete_registered_model_alias("images", "champion")
    assert stands(store)[1] == ("Archived", [])
    assert moves(store) == [1, 1]


def test_only_who_stood_in_that_stage_is_displaced(store: GovernedStore) -> None:
    move(store, 1, "Production")
    for number in (2, 3):
        rival = evidence("abc"[number - 1], paired=(1, evidence("a").digest))
        store.set_model_version_tag("images", number, ModelVersionTag("slipway.evidence", rival.dump()))
        move(store, number, "Staging")
    assert stands(store) == {
        1: ("Production", ["champion"]), 2: ("Archived", []), 3: ("Staging", ["challenger"])}  # fmt: skip
    assert move(store, 3, "Production") == ["champion"]
    assert stands(store) == {1: ("Archived", []), 2: ("Archived", []), 3: ("Production", ["champion"])}


def test_what_was_adopted_where_it_stands_is_decided_once_before_it_counts_as_standing_there(
    store: GovernedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = SqlAlchemyStore(store.db_uri)
    plain.create_registered_model("old")
    for _ in range(2):
        plain.create_model_version("old", "s3://bucket/old")
    plain.transition_model_version_stage("old", "1", "Production", False)
    plain.set_registered_model_alias("old", "champion", "1")
    plain.transition_model_version_stage("old", "2", "Staging", False)  # and no alias: out of step
    adopted = [told.partition(";")[0] for told in store.adopt(dry_run=False)]
    assert adopted == ["old/1 in Production", "old/2 in Staging"]

    def ask(number: int, stage: str) -> None:
        store.transition_model_version_stage("old", str(number), stage, True)

    for number, stage in ((1, "Production"), (2, "Staging")):
        with pytest.raises(MlflowException, match="never checked"):
            ask(number, stage)
        monkeypatch.setenv("SLIPWAY_USER", "ci")
        rival = evidence("d", paired=(1, evidence("d").digest) if number == 2 else None)
        store.set_model_version_tag("old", str(number), ModelVersionTag("slipway.evidence", rival.dump()))
        monkeypatch.setenv("SLIPWAY_USER", "bo")
        store.set_model_version_tag("old", str(number), ModelVersionTag("slipway.approval", "fine"))
        ask(number, stage)
        ask(number, stage)
    assert store.get_model_version("old", 2).aliases == ["challenger"]
    assert [entry.version for entry in store.said_of("old") if entry.kind is Kind.MOVED] == [1, 2, 1, 2]
