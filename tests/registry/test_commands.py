from __future__ import annotations

import json

import click
from click.testing import CliRunner, Result

from registry import PromotionRefused, Stage, commands
from tests.registry.world import World


def run(command: click.Command, *words: str) -> Result:
    return CliRunner().invoke(command, list(words))


def test_the_way_from_candidate_to_production(world: World) -> None:
    world.candidate()
    refused = run(commands.promote, "images/1", "--to", "Production")
    assert isinstance(refused.exception, PromotionRefused)
    assert str(refused.exception) == (
        "images/1 may not enter Production: never checked; no approval (author ana does not count). "
        "Next: slipway check images/1"
    )

    checked = run(commands.check, "images/1", "--json")
    assert checked.exit_code == 0, checked.output
    assert json.loads(checked.stdout)["passed"] is True

    unapproved = run(commands.promote, "images/1", "--to", "Production")
    assert str(unapproved.exception) == (
        "images/1 may not enter Production: no approval (author ana does not count). Next: slipway approve images/1"
    )

    world.acting("bo")
    assert run(commands.approve, "images/1", "--comment", "fine").exit_code == 0
    moved = run(commands.promote, "images/1", "--to", "Production")
    assert moved.stdout == "images/1 is in Production, @champion points at it\n"
    assert world.stages() == {1: (Stage.PRODUCTION, ("champion",))}
    assert "bo (claimed)  approved sha256" in run(commands.history, "images").stdout
