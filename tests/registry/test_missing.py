"""A name or number that is not there is answered with those that are."""

from __future__ import annotations

import click
import mlflow
import pytest
from click.testing import CliRunner

from registry import VersionMissing, commands, missing, release
from tests.registry.world import World


def refusal(command: click.Command, *words: str) -> str:
    told = CliRunner().invoke(command, list(words)).exception
    assert isinstance(told, VersionMissing), told
    return str(told)


def test_a_model_that_is_not_there_is_answered_with_those_that_are(world: World) -> None:
    assert refusal(commands.history, "images") == (
        "no model images here, nor any other. Next: slipway train, or cd to the project's folder"
    )
    world.candidate()
    told = "no model imags here; registered: images. Next: slipway history images"
    assert refusal(commands.check, "imags/1") == told
    assert refusal(commands.promote, "imags/1", "--to", "Staging") == told
    assert refusal(commands.history, "imags") == told
    with pytest.raises(VersionMissing, match=told):
        release("imags")


def test_a_version_that_is_not_there_is_answered_with_those_that_are(world: World) -> None:
    world.candidate()
    world.candidate()
    told = "images has no version 7; it has 1 and 2. Next: slipway history images"
    assert refusal(commands.approve, "images/7") == told
    assert refusal(commands.check, "images/7") == told


def test_a_server_says_the_same(remote: World) -> None:
    mlflow.MlflowClient().create_registered_model("it's empty")
    assert refusal(commands.check, "it's empty/1") == "it's empty has no version 1, nor any other. Next: slipway train"


def test_a_model_that_nobody_adopted_is_no_mistake(world: World) -> None:
    mlflow.MlflowClient(registry_uri=f"sqlite:///{world.folder / 'mlflow.db'}").create_registered_model("old")
    told = CliRunner().invoke(commands.history, ["old"])
    assert (told.exit_code, told.stdout) == (0, "")
    assert told.stderr == "the ledger says nothing about old. Next: slipway adopt\n"


def test_of_many_only_ten_are_named() -> None:
    models = [f"m{number}" for number in range(10, 30)]
    assert missing.model("other", models).endswith("m19 and 10 more. Next: name one of these, or slipway train")
    assert "it has older ones, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 12." in missing.version("m", 99, range(1, 13))


def test_a_model_that_only_the_policy_names_is_warned_of_with_the_nearest(world: World) -> None:
    world.candidate()
    (world.folder / "policy.yaml").write_text("schema: 1\nmodels: {imgaes: {}, zebra: {}, images: {}}\n")
    until = ". Its rules hold for nothing until there is one\n"
    told = CliRunner().invoke(commands.check, ["images/1"])
    assert told.exit_code == 0
    assert told.stderr.startswith(
        f"warning: policy.yaml: models: imgaes: no such registered model; the nearest is images{until}"
        f"warning: policy.yaml: models: zebra: no such registered model{until}"
    )
    assert told.stderr.count("imgaes") == 1
    moved = CliRunner().invoke(commands.promote, ["images/1", "--to", "Staging"])
    assert moved.stderr.count("the nearest is images") == 1
