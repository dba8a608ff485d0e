from __future__ import annotations

import json
import re
import subprocess
import sys

import click
import flask
import mlflow
import pytest
from click.testing import CliRunner, Result

import slipway
from registry import PromotionRefused, ReleaseMissing, Stage, commands, connect, mlflow_store, release
from tests.registry.world import World

pytestmark = pytest.mark.filterwarnings("ignore:.*transition_model_version_stage:FutureWarning")


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
    told = json.loads(checked.stdout)
    assert told["passed"] is True
    kept = json.loads(mlflow_store.ledger("images", 1)[-1].body)
    assert (told["measured"], told["paired"]) == (kept["measured"], kept["paired"]), "what the gates weighed, in full"

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


def test_each_step_names_the_next_on_stderr(world: World) -> None:
    world.candidate()
    approve, promote = "Next: slipway approve images/1\n", "Next: slipway promote images/1 --to Production\n"
    assert run(commands.check, "images/1").stderr.endswith(approve)
    assert run(commands.promote, "images/1", "--to", "Staging").stderr.endswith(approve)
    world.acting("bo")
    assert run(commands.approve, "images/1").stderr.endswith(promote)
    assert run(commands.check, "images/1", "--json").stderr.endswith(promote)
    assert run(commands.approve, "images/1").stderr.endswith(promote)
    assert run(commands.promote, "images/1", "--to", "Production").stderr.endswith("Next: slipway deploy images\n")


def test_where_two_must_approve_the_first_asks_for_the_second(world: World) -> None:
    (world.folder / "policy.yaml").write_text("schema: 1\ndefaults: {approvals: {needed: 2}}\n")
    world.approved()
    world.acting("bo")
    assert run(commands.approve, "images/1").stderr == "Next: somebody else runs slipway approve images/1\n"
    world.acting("cy")
    assert run(commands.approve, "images/1").stderr == "Next: slipway promote images/1 --to Production\n"


def test_a_check_that_did_not_pass_names_no_next_step(world: World) -> None:
    world.candidate(wrong=0.5)
    assert "Next:" not in run(commands.check, "images/1").stderr


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_a_check_that_did_not_pass_ends_with_one(words: tuple[str, ...], world: World) -> None:
    world.candidate(wrong=0.5)
    command = [sys.executable, "-c", "import slipway; slipway.main()", "check", "images/1", *words]
    done = subprocess.run(command, cwd=world.folder, capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    assert "accuracy" in done.stdout


def test_promoting_again_changes_nothing_and_says_so(world: World) -> None:
    world.released()
    before = run(commands.history, "images").stdout
    again = run(commands.promote, "images/1", "--to", "production")
    assert again.exit_code == 0
    assert re.fullmatch(r"images/1 is in Production already: ana \(claimed\) moved it on [-\d]{10} at [:\d]{8} UTC\n",
                        again.stdout)  # fmt: skip
    assert run(commands.history, "images").stdout == before


def test_approving_the_same_bytes_again_is_no_news(world: World) -> None:
    world.approved()
    world.acting("bo")
    before = run(commands.history, "images").stdout
    again = run(commands.approve, "images/1", "--comment", "still fine")
    assert again.exit_code == 0
    assert re.fullmatch(r"images/1 was approved by bo already, on \d{4}-\d\d-\d\d \d\d:\d\d UTC\n", again.stdout)
    assert run(commands.history, "images").stdout == before
    world.acting("cy")
    assert run(commands.approve, "images/1").stdout.startswith("images/1 approved, sha256 ")


def test_an_approval_that_was_taken_back_can_be_given_anew(world: World) -> None:
    world.approved()
    world.acting("bo")
    run(commands.approve, "images/1", "--withdraw")
    assert run(commands.approve, "images/1").stdout.startswith("images/1 approved, sha256 ")
    assert run(commands.history, "images").stdout.count("approved sha256") == 2


def test_an_approval_that_has_expired_can_be_given_anew(world: World) -> None:
    (world.folder / "policy.yaml").write_text("schema: 1\ndefaults: {approvals: {expire_after_days: 0.0000001}}\n")
    world.approved()
    world.acting("bo")
    assert run(commands.approve, "images/1").stdout.startswith("images/1 approved, sha256 ")


def test_anonymous_may_move_what_others_approved_and_decide_nothing(world: World) -> None:
    world.candidate()
    world.acting("anonymous")
    assert "needs a name" in str(run(commands.check, "images/1").exception)
    world.acting("ana")
    run(commands.check, "images/1")
    world.acting("anonymous")
    assert "nobody is named" in str(run(commands.approve, "images/1").exception)
    assert "nobody is named" in str(run(commands.reject, "images/1", "--comment", "no").exception)
    assert "no approval" in str(run(commands.promote, "images/1", "--to", "Production").exception)
    assert run(commands.promote, "images/1", "--to", "Staging").exit_code == 0
    world.acting("bo")
    run(commands.approve, "images/1")
    world.acting("anonymous")
    assert run(commands.promote, "images/1", "--to", "Production").exit_code == 0
    assert "anonymous (claimed)  moved from Staging to Production" in run(commands.history, "images").stdout
    with pytest.raises(PromotionRefused, match="only a person"):
        mlflow_store.move(mlflow_store.model_version("images", 1), Stage.ARCHIVED)


def test_reject_needs_a_reason_and_stands_until_withdrawn(world: World) -> None:
    world.approved()
    world.acting("cy")
    assert run(commands.reject, "images/1").exit_code == 2
    assert run(commands.reject, "images/1", "--comment", "class 6").exit_code == 0
    assert "rejected by cy: class 6" in str(run(commands.promote, "images/1", "--to", "Production").exception)
    assert "no longer judged by you" in run(commands.approve, "images/1", "--withdraw").stdout
    assert run(commands.promote, "images/1", "--to", "Production").exit_code == 0


def test_the_glass_needs_a_login_even_for_those_named(world: World) -> None:
    (world.folder / "policy.yaml").write_text("schema: 1\nbreak_glass: [root]\n")
    world.candidate()
    run(commands.check, "images/1")
    world.acting("root")
    broken = run(commands.promote, "images/1", "--to", "Production", "--break-glass", "the site is down")
    assert "root (claimed) may not break the glass" in str(broken.exception)
    short = run(commands.promote, "images/1", "--to", "Production", "--break-glass", "now")
    assert "at least ten characters" in str(short.exception)


def test_a_broken_glass_stands_in_red_in_the_history_and_nothing_else_does(world: World) -> None:
    (world.folder / "policy.yaml").write_text("schema: 1\nbreak_glass: [root]\n")
    world.candidate()
    assert run(commands.check, "images/1").exit_code == 0
    with flask.Flask("login").test_request_context():
        flask.g.mlflow_authenticated_user = "root"
        said = json.dumps({"reason": "the site is down"})
        mlflow.MlflowClient().set_model_version_tag("images", "1", "slipway.break_glass", said)
    *others, last = CliRunner().invoke(commands.history, ["images"], color=True).stdout.splitlines()
    assert last.startswith("\x1b[31m")
    assert "BREAKING THE GLASS: the site is down (overriding: no approval" in last
    assert not any("\x1b[31m" in line for line in others)


@pytest.mark.parametrize("word", ["images", "images/", "/3", "images/0", "images/three"])
def test_what_is_no_version_is_a_usage_error(word: str) -> None:
    told = run(commands.promote, word, "--to", "Production")
    assert told.exit_code == 2
    assert "wanted for example images/3" in told.stderr


def test_history_at_a_time_names_what_stood_where(world: World) -> None:
    world.released()
    assert run(commands.history, "images", "--at", "2020-01-01").stdout == ""
    assert run(commands.history, "images", "--at", "2100-01-01T00:00:00Z").stdout.startswith("Production  images/1")
    rows = json.loads(run(commands.history, "images", "--at", "2100-01-01", "--json").stdout)
    assert [(row["version"], row["stage"]) for row in rows] == [(1, "Production")]
    assert run(commands.history, "images", "--at", "yesterday").exit_code == 2


# --- a database that was here before


def test_what_was_here_before_is_adopted_as_it_stands_and_can_be_released(world: World) -> None:
    plain = mlflow.MlflowClient(registry_uri=f"sqlite:///{world.folder / 'mlflow.db'}")
    version = world.candidate("mine")
    plain.create_registered_model("images")
    plain.create_model_version("images", version.source, version.run_id)
    plain.transition_model_version_stage("images", "1", "Production")
    plain.set_registered_model_alias("images", "champion", "1")
    before = world.stages()
    world.acting("bo")
    would = run(commands.adopt, "--dry-run").stdout
    assert would == "images/1 in Production; next: slipway check images/1, then promote it\n"
    assert run(commands.adopt).stdout == would
    assert run(commands.adopt).stdout == ""
    assert world.stages() == before
    with pytest.raises(ReleaseMissing):
        release("images")
    assert run(commands.check, "images/1").exit_code == 0
    world.acting("cy")
    assert run(commands.approve, "images/1").exit_code == 0
    assert run(commands.promote, "images/1", "--to", "Production").exit_code == 0
    assert release("images").version == 1


def test_plain_mlflow_goes_on_using_an_adopted_database(world: World) -> None:
    plain = mlflow.MlflowClient(registry_uri=f"sqlite:///{world.folder / 'mlflow.db'}")
    plain.create_registered_model("old")
    plain.create_model_version("old", str(world.folder), await_creation_for=0)
    plain.set_model_version_tag("old", "1", "note", "kept")
    plain.set_registered_model_alias("old", "best", "1")
    assert run(commands.adopt).exit_code == 0
    plain.create_model_version("old", str(world.folder), await_creation_for=0)
    plain.transition_model_version_stage("old", "2", "Production", archive_existing_versions=True)
    plain.set_registered_model_alias("old", "champion", "2")
    plain.set_model_version_tag("old", "1", "note", "changed")
    plain.update_model_version("old", "1", "the first")
    plain.delete_model_version_tag("old", "1", "note")
    found = plain.get_registered_model("old")
    assert {alias: int(number) for alias, number in found.aliases.items()} == {"best": 1, "champion": 2}
    plain.rename_registered_model("old", "new")
    plain.delete_model_version("new", "1")
    assert [int(v.version) for v in plain.search_model_versions("name = 'new'")] == [2]
    again = run(commands.adopt)
    assert again.stdout == "new/2 in Production; next: slipway check new/2, then promote it\n"
    with pytest.raises(ReleaseMissing):
        release("new")
    plain.delete_registered_model("new")
    assert run(commands.__getattr__("ledger"), "verify").exit_code == 0


def test_what_is_out_of_step_is_named_when_it_is_adopted(world: World) -> None:
    world.train()
    plain = mlflow.MlflowClient(registry_uri=f"sqlite:///{world.folder / 'mlflow.db'}")
    plain.create_registered_model("images")
    plain.create_model_version("images", str(world.folder))
    plain.transition_model_version_stage("images", "1", "Production")
    connect()
    assert "images/1 in Production; out of step: no alias; next" in run(commands.adopt, "--dry-run").stdout


@pytest.mark.parametrize(("command", "words", "told"), [
    (commands.promote, ("images/1", "--to", "Prod"), "'Prod' is no stage to promote to; wanted Staging or Production; "
                                                     "did you mean Production?"),
    (commands.promote, ("images/1", "--to", "Archived"), "'Archived' is no stage to promote to; wanted Staging or"),
    (commands.promote, ("images/1",), "wanted --to Staging or --to Production"),
    (commands.check, ("images",), "'images' is no MODEL/VERSION; wanted for example images/3. Next: "),
    (commands.check, ("images/0",), "Next: slipway history images\n"),
    (slipway.cli, ("approv", "images/1"), "no command 'approv'; did you mean 'approve'?"),
    (slipway.cli, ("xyz",), "no command 'xyz'. Next: slipway --help"),
])
def test_what_was_mistyped_is_answered_with_what_was_meant(
    command: click.Command, words: tuple[str, ...], told: str
) -> None:
    done = run(command, *words)
    assert done.exit_code == 2
    assert told in done.stderr
