# mypy: disallow-untyped-calls=False
# MLflow's store carries no annotations.
"""Nobody forges an approval, nor hides one: in tags, aliases, descriptions, or in what is printed of the ledger."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from mlflow.entities.model_registry import ModelVersionTag, RegisteredModelTag
from mlflow.exceptions import MlflowException
from pydantic import ValidationError

from registry import shown, telling
from registry.spelling import one_line
from registry.store import GovernedStore
from registry.wire import FileShape
from registry.words import Stage
from tests.registry.saying import evidence

Say = Callable[..., None]


@pytest.fixture
def store(anas: GovernedStore) -> GovernedStore:
    anas.create_model_version("images", "s3://bucket/one")
    return anas


@pytest.fixture
def say(store: GovernedStore, monkeypatch: pytest.MonkeyPatch) -> Say:
    def saying(who: str, key: str, value: str = "", version: int = 1) -> None:
        monkeypatch.setenv("SLIPWAY_USER", who)
        store.set_model_version_tag("images", version, ModelVersionTag(f"slipway.{key}", value))

    return saying


def described(store: GovernedStore, version: int = 1) -> str:
    return str(store.get_model_version("images", version).description)


def refused(act: Callable[..., object], *said: object) -> str:
    with pytest.raises(MlflowException) as caught:
        act(*said)
    return str(caught.value.message)


@pytest.mark.parametrize("no", ["withdrawal", "rejection"])
def test_a_no_takes_back_a_yes_to_other_bytes_too(store: GovernedStore, say: Say, no: str) -> None:
    say("ci", "evidence", evidence("a").dump())
    say("bo", "approval")
    say("ana", "evidence", evidence("b").dump())  # so that the no is said of other bytes
    say("bo", no)
    say("ana", "evidence", evidence("a").dump())
    assert "no approval" in refused(store.transition_model_version_stage, "images", 1, "Production", True)


def test_a_rejection_of_other_bytes_does_not_free_those_that_were_rejected(store: GovernedStore, say: Say) -> None:
    say("ci", "evidence", evidence("a").dump())
    say("bo", "rejection", "no")
    say("ana", "evidence", evidence("b").dump())
    say("bo", "rejection", "no again")
    say("cy", "approval")
    say("ana", "evidence", evidence("a").dump())
    say("cy", "approval")
    assert "rejected by bo: no" in refused(store.transition_model_version_stage, "images", 1, "Production", True)


LOOKALIKES = ["\u0455lipway.approval", "sIipway.approval", "slipway .approval", "\u017flipway.approval",
              "SL1PWAY.approval", "slip\u0461\u0430\u0443.approval"]


@pytest.mark.parametrize("key", LOOKALIKES)
def test_a_tag_that_looks_like_ours_is_not_written(store: GovernedStore, key: str) -> None:
    assert "slipway's alone" in refused(store.set_model_version_tag, "images", 1, ModelVersionTag(key, "bo: fine"))
    assert "slipway's alone" in refused(store.set_registered_model_tag, "images", RegisteredModelTag(key, "bo: fine"))
    assert "slipway's alone" in refused(store.create_registered_model, "other", [RegisteredModelTag(key, "bo: fine")])
    made = store.create_model_version("images", "s3://bucket/two", tags=[ModelVersionTag(key, "bo: fine")])
    assert store.get_model_version("images", made.version).tags == {}


def test_tags_that_do_not_look_like_ours_are_anybodys(store: GovernedStore) -> None:
    for key in ("owner", "\u0448\u043b\u044e\u0437.\u0446\u0435\u043b\u044c", "slip", "shipway.note", "slipways"):
        store.set_model_version_tag("images", 1, ModelVersionTag(key, "x"))
        store.delete_model_version_tag("images", 1, key)


@pytest.mark.parametrize("alias", ["production", "PRODUCTION", "ch\u0430mpion", "champion\n", "Staging"])
def test_an_alias_that_reads_as_a_stage_is_not_set(store: GovernedStore, alias: str) -> None:
    assert "would be taken for @ch" in refused(store.set_registered_model_alias, "images", alias, 1)


def test_prompts_have_the_aliases_that_they_want(store: GovernedStore) -> None:
    store.create_registered_model("greeting", [RegisteredModelTag("mlflow.prompt.is_prompt", "true")])
    store.create_model_version("greeting", "dummy-source")
    store.set_registered_model_alias("greeting", "production", 1)
    assert store.get_model_version_by_alias("greeting", "production").version == 1


def test_a_model_is_not_hidden_among_the_prompts(store: GovernedStore) -> None:
    for act, *said in (
        (store.set_registered_model_tag, "images", RegisteredModelTag("mlflow.prompt.is_prompt", "true")),
        (store.set_model_version_tag, "images", 1, ModelVersionTag("mlflow.prompt.is_prompt", "true")),
    ):
        assert "a model does not become a prompt" in refused(act, *said)
    assert [model.name for model in store.search_registered_models()] == ["images"]


FORGED = f"{shown._FIRST}every gate passed, approved by bo\n\n- approved by bo: fine\n\n{shown._LAST}"


def test_no_description_begins_with_words_of_ours(store: GovernedStore, say: Say) -> None:
    made = store.create_model_version("images", "s3://bucket/two", description=f"rainy days\n\n{FORGED}")
    assert described(store, int(made.version)) == "rainy days"
    store.update_model_version("images", made.version, f"{FORGED}{FORGED} snow")
    assert described(store, int(made.version)) == "snow"
    for words in ("Gates and approvals, **kept** by slipway: all passed", "kept by \u0455lipway - approved by bo"):
        assert "taken for slipway's" in refused(store.update_model_version, "images", 1, words)
        assert "taken for slipway's" in refused(
            lambda words=words: store.create_model_version("images", "s3://bucket/3", description=words)
        )


def test_a_long_description_leaves_room_for_ours(store: GovernedStore, say: Say) -> None:
    assert "at most 4000 leave room" in refused(store.update_model_version, "images", 1, "A" * 4990)
    store.update_model_version("images", 1, "A" * 4000)
    say("ci", "evidence", evidence().dump())
    say("bo", "rejection", "class 6")
    assert len(described(store)) <= 5000
    assert "rejected by bo (claimed)" in described(store)


def test_nothing_in_a_comment_becomes_part_of_the_description(store: GovernedStore, say: Say) -> None:
    say("ci", "evidence", evidence().dump())
    say("bo", "approval", f"x\n\n{shown._LAST}\n\n[approved by cy](http://x) <b>fine</b> ![i](http://x)")
    assert described(store).count(shown._LAST) == 1
    assert not any(mark in described(store) for mark in ("\n[approved", " [approved", " <b>", "![i"))
    say("bo", "withdrawal")
    assert "approved by cy" not in described(store)
    assert shown.own_words(described(store)) == ""


def test_a_comment_or_an_address_makes_no_second_line_of_history(store: GovernedStore, say: Say) -> None:
    store.create_model_version("images", "s3://bucket/x\n    9  2026-11-25 12:00:00  images/2  bo  approved")
    say("ci", "evidence", evidence().dump())
    say("bo", "approval", "fine\x1b[2K\r    9  2026-11-25 12:00:00  images/1  cy  approved \u202eeniltxen")
    lines = [telling.line(entry) for entry in store.said_of("images")]
    assert len(lines) == 4
    assert all(line.isprintable() for line in lines)
    assert one_line("n\u00e4ive \u65e5\u672c \u0448") == "n\u00e4ive \u65e5\u672c \u0448"


def test_two_files_are_not_told_as_one() -> None:
    with pytest.raises(ValidationError, match="of two lines"):
        FileShape(path=f"a\n{'0' * 64}  b", sha256="1" * 64, size=1)


def test_evidence_without_end_is_not_taken(store: GovernedStore, say: Say) -> None:
    assert "at most 1000000 are taken" in refused(say, "ana", "evidence", " " * 1_000_001)


def test_whoever_registers_the_same_files_by_another_address_answers_for_them_with_their_author(
    store: GovernedStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.create_model_version("images", "mlflow-artifacts:/1/models/m-1/artifacts")
    monkeypatch.setenv("SLIPWAY_USER", "eve")
    for source in ("http://host/api/2.0/mlflow-artifacts/artifacts/1/models/m-1/artifacts",
                   "mlflow-artifacts://host/1//models/m%2D1/artifacts/", "mlflow-artifacts:/1/models/m-1/artifacts"):
        made = store.create_model_version("images", source)
        assert telling.told(store.said_of("images", int(made.version))[0]).endswith("(author ana, eve)")
    other = store.create_model_version("images", "mlflow-artifacts:/1/models/m-12/artifacts")
    assert telling.told(store.said_of("images", int(other.version))[0]).endswith("(author eve)")


def test_an_alias_in_another_case_is_not_deleted_from_under_its_stage(store: GovernedStore, say: Say) -> None:
    say("ci", "evidence", evidence().dump())
    store.transition_model_version_stage("images", 1, "Staging", True)
    assert "use @challenger" in refused(store.delete_registered_model_alias, "images", "Challenger")
    assert Stage(store.get_model_version("images", 1).current_stage) is Stage.STAGING
