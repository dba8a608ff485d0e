"""A stock `mlflow server`, without slipway: the same rules as advice, and what is deployed is verified all the same."""

from __future__ import annotations

from collections.abc import Iterator

import click
import mlflow
import pytest
import requests
from click.testing import CliRunner, Result

from registry import (
    LedgerBroken,
    PromotionRefused,
    RegistryMisconfigured,
    ReleaseMissing,
    ReleaseTampered,
    Stage,
    commands,
    connect,
    download,
    mlflow_store,
    release,
)
from tests.registry.servers import running
from tests.registry.world import World

pytestmark = pytest.mark.filterwarnings("ignore:.*transition_model_version_stage:FutureWarning")


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running(tmp_path_factory.mktemp("stock"), None) as address:
        yield address


@pytest.fixture
def plain(stock: str, world: World) -> World:
    world.monkeypatch.setenv("MLFLOW_TRACKING_URI", stock)
    mlflow.set_tracking_uri(stock)
    connect()
    return world


def run(command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, list(words))


def released(world: World, name: str) -> None:
    world.approved(name)
    assert run(commands.promote, f"{name}/1", "--to", "Production").exit_code == 0


def test_the_whole_way_follows_the_rules_and_says_each_time_that_it_is_advice(plain: World, stock: str) -> None:
    plain.candidate("way")
    advice = f"warning: {stock} runs without slipway, so this is advice"
    assert "never checked" in str(run(commands.promote, "way/1", "--to", "Production").exception)
    checked = run(commands.check, "way/1")
    assert (checked.exit_code, checked.stderr.startswith(advice)) == (0, True), checked
    assert "author ana does not count" in str(run(commands.approve, "way/1").exception)
    refused = run(commands.promote, "way/1", "--to", "Production")
    assert isinstance(refused.exception, PromotionRefused)
    assert plain.stages("way") == {1: (Stage.NONE, ())}
    plain.acting("bo")
    approved = run(commands.approve, "way/1", "--comment", "fine")
    assert (approved.exit_code, approved.stderr.startswith(advice)) == (0, True)
    moved = run(commands.promote, "way/1", "--to", "Production")
    assert moved.stdout == "way/1 is in Production, @champion points at it\n"
    assert moved.stderr.startswith(advice)
    assert plain.stages("way") == {1: (Stage.PRODUCTION, ("champion",))}
    again = run(commands.promote, "way/1", "--to", "Production").stdout
    assert again.startswith("way/1 is in Production already: bo (claimed) moved it on ")
    kinds = [entry.kind.value for entry in mlflow_store.ledger("way")]
    assert kinds == ["registered", "checked", "approved", "moved"]


def test_a_better_candidate_displaces_the_champion_and_stage_and_alias_agree(plain: World) -> None:
    released(plain, "next")
    plain.approved("next")
    assert run(commands.promote, "next/2", "--to", "Staging").exit_code == 0
    assert run(commands.promote, "next/2", "--to", "Production").exit_code == 0
    assert plain.stages("next") == {1: (Stage.ARCHIVED, ()), 2: (Stage.PRODUCTION, ("champion",))}


def test_a_login_that_nobody_proved_breaks_no_glass(plain: World) -> None:
    (plain.folder / "policy.yaml").write_text("schema: 1\nbreak_glass: [ana]\n")
    plain.candidate("glass")
    run(commands.check, "glass/1")
    told = run(commands.promote, "glass/1", "--to", "Production", "--break-glass", "the site is down")
    assert "ana (claimed) may not break the glass" in str(told.exception)


def test_a_deployment_verifies_the_files_and_says_that_the_rest_is_advice(
    plain: World, stock: str, caplog: pytest.LogCaptureFixture
) -> None:
    released(plain, "files")
    found = release("files")
    assert [str(approval.approver) for approval in found.approvals] == ["bo (claimed)"]
    assert "runs without slipway" in caplog.text
    model = mlflow.MlflowClient().get_logged_model(found.source.removeprefix("models:/"))
    path = model.artifact_location.removeprefix("mlflow-artifacts:/")
    url = f"{stock}/api/2.0/mlflow-artifacts/artifacts/{path}/MLmodel"
    assert requests.put(url, data=requests.get(url, timeout=10).content + b"\n", timeout=10).ok
    with pytest.raises(ReleaseTampered, match="changed: MLmodel"):
        download(found, plain.folder / "fetched")


def test_who_went_round_the_rules_has_no_release(plain: World) -> None:
    plain.candidate("round")
    client = mlflow.MlflowClient()
    client.transition_model_version_stage("round", "1", "Production")
    client.set_registered_model_alias("round", "champion", "1")
    with pytest.raises(ReleaseMissing, match="the ledger does not say who put it there"):
        release("round")


def test_a_rewritten_entry_is_named(plain: World) -> None:
    plain.approved("forged")
    client = mlflow.MlflowClient()
    tags = client.get_model_version("forged", "1").tags
    key = next(key for key, value in tags.items() if '"approved"' in value)
    client.set_model_version_tag("forged", "1", key, tags[key].replace('"bo"', '"cy"'))
    with pytest.raises(LedgerBroken, match=f"tag {key} of forged/1 was changed"):
        release_of = run(commands.promote, "forged/1", "--to", "Production").exception
        assert release_of
        raise release_of


def test_a_copy_brings_no_approval_along(plain: World) -> None:
    plain.approved("origin")
    mlflow.MlflowClient().copy_model_version("models:/origin/1", "copied")
    assert mlflow_store.ledger("copied") == []
    assert "never checked" in str(run(commands.promote, "copied/1", "--to", "Production").exception)


def test_what_needs_the_one_ledger_is_refused_with_the_way_to_have_it(plain: World) -> None:
    with pytest.raises(RegistryMisconfigured, match="shows no ledger"):
        mlflow_store.whole_ledger()
    assert "is no database of ours" in str(run(commands.__getattr__("adopt")).exception)
