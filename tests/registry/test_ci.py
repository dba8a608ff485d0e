"""CI's side: its own identity and nothing but variables, annotations and a summary, JSON to read, two jobs at once."""

from __future__ import annotations

import json
from pathlib import Path

import click
import mlflow
import pytest
import requests
from click.testing import CliRunner

from registry import Stage, check, commands, mlflow_store
from tests.registry.processes import ended, start
from tests.registry.servers import PASSWORD
from tests.registry.world import World

pytestmark = pytest.mark.filterwarnings("ignore:.*transition_model_version_stage:FutureWarning")
STAMP = "%Y-%m-%dT%H:%M:%S.%fZ"


def test_ci_promotes_with_an_address_and_a_login_and_may_not_approve(
    logins: str, world: World, tmp_path: Path
) -> None:
    world.monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    world.monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    mlflow.set_tracking_uri(logins)
    check.check(world.candidate("pipeline"))
    summary = tmp_path / "summary.md"
    ci = {
        "MLFLOW_TRACKING_URI": logins, "MLFLOW_TRACKING_USERNAME": "ci", "MLFLOW_TRACKING_PASSWORD": PASSWORD,
        "GITHUB_ACTIONS": "true", "GITHUB_STEP_SUMMARY": str(summary),
    }  # fmt: skip
    staged = start("promote", "pipeline/1", "--to", "Staging", "--json", **ci)
    approves = start("approve", "pipeline/1", **ci)
    code, stdout, stderr = ended(staged)
    assert (code, json.loads(stdout)["changed"]) == (0, True), stderr
    code, _, stderr = ended(approves)
    assert code == 1
    assert "::error title=slipway::pipeline/1 is not approved: ci is a CI identity" in stderr
    said = {"name": "pipeline", "version": "1", "key": "slipway.approval", "value": "fine"}
    tagged = requests.post(
        f"{logins}/api/2.0/mlflow/model-versions/set-tag", json=said, auth=("bo", PASSWORD), timeout=30
    )
    assert tagged.ok
    code, stdout, stderr = ended(start("promote", "pipeline/1", "--to", "Production", **ci))
    assert (code, stdout) == (0, "pipeline/1 is in Production, @champion points at it\n"), stderr
    moves = [entry for entry in mlflow_store.ledger("pipeline") if entry.kind.value == "moved"]
    assert [str(entry.actor) for entry in moves] == ["ci", "ci"]
    told = summary.read_text()
    assert "### pipeline/1 is in Production" in told
    assert "| accuracy | passed |" in told
    assert "Approved by: bo" in told


def test_without_github_there_are_no_annotations(world: World) -> None:
    code, _, stderr = ended(start("promote", "images/1", "--to", "Staging", MLFLOW_TRACKING_URI="sqlite:///mlflow.db"))
    assert (code, "::error" in stderr) == (2, False)


def test_of_two_jobs_at_once_one_wins_and_the_other_says_so(world: World) -> None:
    world.approved()
    world.approved()
    where = {"MLFLOW_TRACKING_URI": "sqlite:///mlflow.db"}
    both = [start("promote", f"images/{n}", "--to", "Production", SLIPWAY_USER="ci", **where) for n in (1, 2)]
    told = [ended(process) for process in both]
    assert sorted(code for code, _, _ in told) == [0, 1], told
    winner = 1 if told[0][0] == 0 else 2
    assert f"not compared with champion {winner}" in told[2 - winner][2]
    assert world.stages()[winner] == (Stage.PRODUCTION, ("champion",))
    assert world.stages()[3 - winner] == (Stage.NONE, ())


def told_as_json(command: click.Command, *words: str) -> dict[str, object]:
    done = CliRunner().invoke(command, [*words, "--json"])
    assert done.exit_code == 0, done
    told: dict[str, object] = json.loads(done.stdout)
    return told


def test_every_command_that_a_machine_runs_answers_in_json(world: World) -> None:
    version = world.candidate()
    check.check(version)
    digest = check.recorded(version).digest
    world.acting("bo")
    rejected = told_as_json(commands.reject, "images/1", "--comment", "no")
    assert rejected == {"version": "images/1", "digest": digest, "rejected": True}
    approved = told_as_json(commands.approve, "images/1")
    step = "slipway promote images/1 --to Production"
    assert approved == {"version": "images/1", "digest": digest, "approved": True, "changed": True, "next": step}
    assert told_as_json(commands.approve, "images/1")["changed"] is False
    promoted = told_as_json(commands.promote, "images/1", "--to", "production")
    assert promoted == {
        "version": "images/1", "stage": "Production", "alias": "champion", "changed": True,
        "next": "slipway deploy images", "moved_by": "bo", "moved_at": mlflow_store.ledger()[-1].at.strftime(STAMP),
    }  # fmt: skip
    again = told_as_json(commands.promote, "images/1", "--to", "production")
    assert again == {**promoted, "changed": False}, "and by whom, and when"
    assert told_as_json(commands.approve, "images/1", "--withdraw")["approved"] is False
    verified = told_as_json(commands.__getattr__("ledger"), "verify")
    last = mlflow_store.ledger()[-1]
    assert verified == {"holds": True, "entries": last.seq, "head": last.hash, "signed_head": False}
    assert told_as_json(commands.__getattr__("adopt"), "--dry-run") == {"dry_run": True, "adopted": []}
