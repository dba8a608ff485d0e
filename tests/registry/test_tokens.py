"""CI with only MLFLOW_TRACKING_URI and MLFLOW_TRACKING_TOKEN, against a real server with basic-auth."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mlflow
import pytest
import requests
import sqlalchemy as sa
from click.testing import CliRunner, Result
from sqlalchemy.orm import Session

import slipway
from registry import PromotionRefused, RegistryError, Stage, mlflow_store, tokens
from registry.errors import RegistryMisconfigured
from registry.tables import TOKENS, create_tables
from registry.tokens import Owner
from registry.wire import WordShape
from tests.registry.servers import ADMIN, PASSWORD
from tests.registry.world import World

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
CI = Owner("ci", tokens.fingerprint("scrypt:1"))


@pytest.fixture
def session() -> Session:
    engine = sa.create_engine("sqlite://")
    create_tables(engine)
    return Session(engine)


def test_a_token_opens_for_its_owner_until_its_end(session: Session) -> None:
    made, text = tokens.make(session, CI, "Actions", timedelta(days=30), NOW)
    assert tokens.behind(session, text, NOW) == made
    assert tokens.behind(session, text, NOW + timedelta(days=30, seconds=-1)) == made
    assert tokens.behind(session, text, NOW + timedelta(days=30)) is None


def test_no_other_text_opens(session: Session) -> None:
    made, text = tokens.make(session, CI, "", timedelta(days=1), NOW)
    _, other = tokens.make(session, Owner("bo", tokens.fingerprint("scrypt:2")), "", timedelta(days=1), NOW)
    secret = other.rpartition(f"{other.split('_')[1]}_")[2]
    for wrong in ("", made.id, text[:-1], f"{text}x", f"slipway_{made.id}_{secret}", text.swapcase()):
        assert tokens.behind(session, wrong, NOW) is None, wrong


def test_what_is_kept_does_not_hold_what_opens(session: Session) -> None:
    made, text = tokens.make(session, CI, "", timedelta(days=1), NOW)
    (row,) = session.execute(sa.select(TOKENS)).all()
    secret = text.removeprefix(f"slipway_{made.id}_")
    assert len(secret) == 43
    assert not any(secret in str(value) for value in row)


def test_a_revoked_token_stays_in_the_list_and_opens_nothing(session: Session) -> None:
    made, text = tokens.make(session, CI, "", timedelta(days=1), NOW)
    assert tokens.revoke(session, made.id, "bo", NOW) is None, "another's is not one's own to revoke"
    assert tokens.behind(session, text, NOW) is not None
    later = NOW + timedelta(hours=1)
    revoked = tokens.revoke(session, made.id, "ci", later)
    assert revoked is not None
    assert revoked.revoked == later
    assert tokens.revoke(session, made.id, "ci", NOW + timedelta(hours=2)) == revoked, "the first time stays"
    assert tokens.behind(session, text, NOW) is None
    assert tokens.listed(session, "ci") == [revoked]


@pytest.mark.parametrize("lasting", [timedelta(), timedelta(days=-1), timedelta(days=367)])
def test_no_token_lasts_for_ever(session: Session, lasting: timedelta) -> None:
    with pytest.raises(ValueError, match="up to 366 days"):
        tokens.make(session, CI, "", lasting, NOW)


def test_a_token_may_last_for_as_long_as_is_said_and_one_that_nobody_made_opens_nothing(session: Session) -> None:
    made, text = tokens.make(session, CI, "", tokens.LONGEST, NOW)
    assert made.expires - made.created == timedelta(days=366)
    assert tokens.behind(session, text.replace(made.id, "0" * 12), NOW) is None


def test_of_many_tokens_the_one_that_is_named_is_revoked_and_they_are_listed_by_age(session: Session) -> None:
    made = [tokens.make(session, CI, str(day), timedelta(days=9), NOW + timedelta(days=day)) for day in (3, 1, 4, 2)]
    assert [token.note for token in tokens.listed(session, None)] == ["1", "2", "3", "4"]
    for token, text in made[:2]:
        assert tokens.revoke(session, token.id, "ci", NOW) is not None
        assert tokens.behind(session, text, NOW) is None
    assert all(tokens.behind(session, text, NOW) == token for token, text in made[2:])
    assert tokens.revoke(session, "0" * 12, None, NOW) is None


# --- a real server, and clients that know nothing but the token


def run(*words: str) -> Result:
    return CliRunner().invoke(slipway.cli, list(words), catch_exceptions=True)


def as_user(world: World, name: str, password: str = PASSWORD) -> None:
    world.monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", name)
    world.monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", password)


def by_token(world: World, token: str) -> None:
    for variable in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "SLIPWAY_USER"):
        world.monkeypatch.delenv(variable, raising=False)
    world.monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", token)


@pytest.fixture
def at(logins: str, world: World) -> World:
    world.monkeypatch.setenv("MLFLOW_TRACKING_URI", logins)
    mlflow.set_tracking_uri(logins)
    return world


def test_ci_checks_and_promotes_with_a_token_and_nothing_else_and_does_not_approve(at: World) -> None:
    as_user(at, "ana")
    version = at.candidate("by-token")
    as_user(at, "ci")
    made = run("token", "create", "--days", "30", "--note", "Actions")
    assert "of ci, until" in made.stderr
    by_token(at, made.stdout.strip())
    assert run("check", "by-token/1").exit_code == 0
    promoted = run("promote", "by-token/1", "--to", "Staging", "--json")
    assert json.loads(promoted.stdout)["changed"] is True, "the mover is told from somebody else who moves"
    assert at.stages("by-token") == {1: (Stage.STAGING, ("challenger",))}
    refused = run("approve", "by-token/1")
    assert isinstance(refused.exception, PromotionRefused)
    assert "ci is a CI identity" in str(refused.exception)
    said = [(entry.kind.value, entry.actor.name, entry.actor.verified) for entry in mlflow_store.ledger("by-token")]
    assert said == [("registered", "ana", True), ("checked", "ci", True), ("moved", "ci", True)]
    at.monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    as_user(at, "bo")
    mlflow_store.send_approval(version, WordShape())


def test_a_revoked_token_and_one_at_its_end_open_nothing(at: World, logins: str) -> None:
    said = {"seconds": 1}
    url = f"{logins}/api/2.0/slipway/tokens"
    short = requests.post(url, json=said, auth=("ci", PASSWORD), timeout=30).json()
    long = requests.post(url, json={"seconds": 600}, auth=("ci", PASSWORD), timeout=30).json()
    asked = f"{logins}/api/2.0/mlflow/registered-models/search"

    def status(token: str) -> int:
        return requests.get(asked, headers={"Authorization": f"Bearer {token}"}, timeout=30).status_code

    assert status(long["token"]) == 200
    time.sleep(max(0.0, datetime.fromisoformat(short["expires"]).timestamp() - time.time()) + 0.01)
    assert status(short["token"]) == 401
    as_user(at, "ci")
    assert "revoked" in run("token", "revoke", long["id"]).stdout
    assert status(long["token"]) == 401
    assert status("nonsense") == 401
    by_token(at, long["token"])
    with pytest.raises(mlflow.MlflowException, match="this token is unknown, has expired or was revoked"):
        mlflow.MlflowClient().search_registered_models()


def test_files_are_read_by_token_too_and_not_without(logins: str, at: World, tmp_path: Path) -> None:
    as_user(at, "ana")
    with mlflow.start_run() as begun:
        mlflow.log_text("hello", "note.txt")
    as_user(at, "ci")
    by_token(at, run("token", "create").stdout.strip())
    assert Path(mlflow.artifacts.download_artifacts(run_id=begun.info.run_id, artifact_path="note.txt",
                                                    dst_path=str(tmp_path))).read_text() == "hello"  # fmt: skip
    location = begun.info.artifact_uri.removeprefix("mlflow-artifacts:/")
    url = f"{logins}/api/2.0/mlflow-artifacts/artifacts/{location}/note.txt"
    assert requests.get(url, headers={"Authorization": "Bearer slipway_0_x"}, timeout=30).status_code == 401


def test_a_token_makes_no_tokens(at: World) -> None:
    as_user(at, "ci")
    by_token(at, run("token", "create").stdout.strip())
    refused = run("token", "create")
    assert isinstance(refused.exception, RegistryError)
    assert "a token makes no tokens" in str(refused.exception)


def test_everybody_sees_their_own_tokens_and_an_admin_all(at: World) -> None:
    as_user(at, "bo")
    own = json.loads(run("token", "create", "--json", "--note", "bo's").stdout)
    assert own["id"] in run("token", "list").stdout
    as_user(at, "cy")
    assert own["id"] not in run("token", "list").stdout
    assert isinstance(run("token", "revoke", own["id"]).exception, RegistryMisconfigured)
    as_user(at, *ADMIN)
    listed = json.loads(run("token", "list", "--json").stdout)
    assert own["id"] in [one["id"] for one in listed]
    assert not any("token" in one or "hash" in one for one in listed)
    assert run("token", "revoke", own["id"]).exit_code == 0


def test_a_token_ends_with_its_login_or_its_password_also_when_the_name_comes_back(at: World, logins: str) -> None:
    users, account = f"{logins}/api/2.0/mlflow/users", {"username": "temporary", "password": PASSWORD}

    def made() -> None:
        requests.post(f"{users}/create", json=account, auth=ADMIN, timeout=30).raise_for_status()

    def gone() -> None:
        requests.delete(f"{users}/delete", json={"username": "temporary"}, auth=ADMIN, timeout=30).raise_for_status()

    made()
    as_user(at, "temporary")
    bearer = {"Authorization": f"Bearer {run('token', 'create').stdout.strip()}"}
    asked = f"{logins}/api/2.0/mlflow/registered-models/search"
    assert requests.get(asked, headers=bearer, timeout=30).status_code == 200
    gone()
    assert requests.get(asked, headers=bearer, timeout=30).status_code == 401
    made()
    assert requests.get(asked, headers=bearer, timeout=30).status_code == 401
    another = {"Authorization": f"Bearer {run('token', 'create').stdout.strip()}"}
    new = {"username": "temporary", "password": f"another-{PASSWORD}"}
    changed = requests.patch(f"{users}/update-password", json=new, auth=ADMIN, timeout=30)
    changed.raise_for_status()
    assert requests.get(asked, headers=another, timeout=30).status_code == 401
    gone()


def test_a_server_without_logins_says_that_it_takes_no_tokens(server: str, world: World) -> None:
    world.monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    refused = run("token", "create")
    assert isinstance(refused.exception, RegistryMisconfigured)
    assert "it takes no tokens. Next: start it with --app-name slipway-auth" in str(refused.exception)


def test_a_length_of_time_beyond_all_calendars_is_refused_and_breaks_nothing(logins: str) -> None:
    url, asked = f"{logins}/api/2.0/slipway/tokens", {"seconds": 10**30}
    answer = requests.post(url, json=asked, auth=("ci", PASSWORD), timeout=30)
    assert (answer.status_code, answer.json()["message"].split(":")[0]) == (400, "seconds")
