"""Who may do what, as docs/governance.md says it, asked of a real server with basic-auth: by REST and by the client."""

from __future__ import annotations

import pytest

from tests.registry.matrix import ACTIONS, PEOPLE, ByClient, Registry, documented, opened


@pytest.fixture(scope="module")
def registry(logins: str) -> Registry:
    return opened(logins)


def test_the_document_and_the_actions_name_the_same() -> None:
    assert list(documented()) == list(ACTIONS)


@pytest.mark.filterwarnings("ignore:.*_model_version_stage:FutureWarning")
@pytest.mark.parametrize("way", ["api", "ajax-api", "client"])
@pytest.mark.parametrize("action", ACTIONS)
def test_the_matrix_holds(registry: Registry, action: str, way: str) -> None:
    if way == "client":
        registry = ByClient(registry.address, registry.run, numbers=registry.numbers)
    else:
        registry.prefix = way
    states, act = ACTIONS[action]
    for role, may in documented()[action].may.items():
        answer = act(registry, PEOPLE[role], registry.version(*states))
        assert answer.status_code == (200 if may else 403), f"{role}: {answer.text}"
    assert act(registry, None, registry.version(*states)).status_code == 401, "anonymous"


def test_the_ledger_is_for_those_who_log_in(registry: Registry) -> None:
    assert registry.ask("cy", "GET", "slipway/ledger").status_code == 200
    assert registry.ask(None, "GET", "slipway/ledger").status_code == 401


def test_what_a_login_did_is_recorded_as_verified(registry: Registry) -> None:
    name = registry.version("checked")
    registry.ask("bo", "POST", "mlflow/model-versions/set-tag", headers={"X-Slipway-User": "cy"}, json={
        "name": name, "version": "1", "key": "slipway.approval", "value": "as bo",
    })  # fmt: skip
    entries = registry.ask("bo", "GET", "slipway/ledger", params={"model": name}).json()["entries"]
    assert (entries[-1]["actor"], entries[-1]["verified"]) == ("bo", True)
