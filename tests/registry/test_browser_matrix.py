"""Who may do what, as docs/governance.md says it, done by hand in MLflow's registry UI, behind basic-auth."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.chromium import chromium
from tests.registry.matrix import ACTIONS, PEOPLE, Registry, documented, opened
from tests.registry.registry_ui import ByUI, NotOffered, log_out, wait, words

NOWHERE = ("not offered", "greyed out")
# Those of the stage menu one after the other: each turn of MLflow's switch loads its whole UI anew.
OFFERED = sorted(
    (action for action, row in documented().items() if row.offered not in NOWHERE),
    key=lambda action: documented()[action].offered,
)
MISSING = [action for action, row in documented().items() if row.offered in NOWHERE]


@pytest.fixture(scope="module")
def registry(logins: str) -> Registry:
    return opened(logins)


@pytest.fixture(scope="module")
def ui(registry: Registry) -> Iterator[ByUI]:
    browser = chromium()
    try:
        made = ByUI(registry.address, registry.run, numbers=registry.numbers, browser=browser)
        made.listen()
        yield made
    finally:
        browser.quit()


@pytest.mark.parametrize("action", OFFERED)
def test_the_matrix_holds_in_the_registry_ui_and_the_reason_can_be_read(
    registry: Registry, ui: ByUI, action: str
) -> None:
    states, act = ACTIONS[action]
    name = ""
    # The refused come first: they change nothing, so that the next person finds the same version.
    for role, may in sorted(documented()[action].may.items(), key=lambda said: said[1]):
        name = name or registry.version(*states)
        told = act(ui, PEOPLE[role], name)
        assert told.status_code == (200 if may else 403), f"{role}: {told.text}"
        if may:
            name = ""


@pytest.mark.parametrize("action", MISSING)
def test_what_the_registry_ui_does_not_offer_is_said(registry: Registry, ui: ByUI, action: str) -> None:
    states, act = ACTIONS[action]
    name = registry.version(*states)
    for role in ("author", "admin"):
        with pytest.raises(NotOffered, match=documented()[action].offered):
            act(ui, PEOPLE[role], name)


def test_the_second_to_approve_edits_the_tag_of_the_first_and_both_approvals_stay(registry: Registry, ui: ByUI) -> None:
    name = registry.version("checked", "approved")
    assert ui.edit_tag("cy", name, "slipway.approval", "me too").ok
    entries = registry.ask("cy", "GET", "slipway/ledger", params={"model": name}).json()["entries"]
    said = [(one["actor"], json.loads(one["body"])["comment"]) for one in entries if one["kind"] == "approved"]
    assert said == [("bo", "fine"), ("cy", "me too")]


def test_without_a_login_no_page_of_the_registry_shows_anything(registry: Registry, ui: ByUI) -> None:
    name = registry.version("checked")
    log_out(ui.browser)
    for page in ("", f"#/models/{name}", f"#/models/{name}/versions/1", "slipway/approvals"):
        ui.browser.get("about:blank")
        ui.browser.get(f"{ui.address}/{page}")
        assert words(ui.browser) == ""
    ui.shown = None


def test_a_page_left_open_does_nothing_once_nobody_is_logged_in(registry: Registry, ui: ByUI) -> None:
    name = registry.version("checked", "approved")
    ui.begin_move("bo", name, "Production")
    log_out(ui.browser)
    ui.confirm_move()
    wait(ui.browser, lambda b: b.execute_script("return window.flying > 0"), "the page asks, and is asked who it is")
    said = registry.ask("bo", "GET", "mlflow/model-versions/get", params={"name": name, "version": "1"}).json()
    assert said["model_version"]["current_stage"] == "None"
    assert ui.browser.execute_script("return window.answers") == []
    ui.browser.get("about:blank")
    ui.shown = None
