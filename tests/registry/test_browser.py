"""A reviewer in Chromium: the approvals page, and MLflow's own registry UI with our store behind it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from registry import Stage, check
from tests.chromium import chromium
from tests.registry.servers import PASSWORD
from tests.registry.world import World

WAIT = 60
# The registry UI with stages, light, and without the assistant in front of it.
SETTINGS = {
    "_mlflow_user_setting_dismiss_next_model_registry_ui": "true",
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    opened = chromium()
    yield opened
    opened.quit()


def find(browser: WebDriver, xpath: str) -> WebElement:
    """The first element like this that can be seen, once it can."""

    def seen(_: WebDriver) -> WebElement | None:
        return next((e for e in browser.find_elements(By.XPATH, xpath) if e.is_displayed()), None)

    found = WebDriverWait(browser, WAIT).until(seen, message=xpath)
    assert found is not None
    return found


def saying(browser: WebDriver, text: str) -> str:
    """Wait until the page says this somewhere; answers with all that it says."""
    WebDriverWait(browser, WAIT).until(lambda _: text in browser.find_element(By.TAG_NAME, "body").text, message=text)
    return browser.find_element(By.TAG_NAME, "body").text


def log_in(browser: WebDriver, name: str) -> None:
    """Send this login along from here on (with it in the address, pages may not fetch)."""
    login = base64.b64encode(f"{name}:{PASSWORD}".encode()).decode()
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Authorization": f"Basic {login}"}})


@pytest.fixture
def checked(logins: str, world: World) -> Iterator[World]:
    """Ana's client of the server with logins."""
    world.monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ana")
    world.monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", PASSWORD)
    mlflow.set_tracking_uri(logins)
    yield world


def test_a_reviewer_approves_on_the_page(browser: WebDriver, logins: str, checked: World, pictures: Path) -> None:
    check.check(checked.candidate("page"))
    log_in(browser, "bo")
    browser.get(f"{logins}/slipway/approvals")
    saying(browser, "Versions that were checked")
    browser.save_screenshot(str(pictures / "approvals.png"))
    find(browser, "//a[text()='page/1']").click()
    assert "no approval" in saying(browser, "Candidate beside champion")
    find(browser, "//textarea").send_keys("the reds are fine")
    browser.save_screenshot(str(pictures / "approve.png"))
    find(browser, "//button[text()='Approve']").click()
    assert "page/1 may enter Production" in saying(browser, "approved sha256")
    browser.save_screenshot(str(pictures / "approved.png"))


def move_in_the_ui(browser: WebDriver, address: str, name: str, who: str) -> None:
    """Pick Production in the registry UI's stage menu and press OK."""
    log_in(browser, who)
    browser.get(f"{address}/")
    for key, value in SETTINGS.items():
        browser.execute_script("localStorage.setItem(arguments[0], arguments[1])", key, value)
    browser.get(f"{address}/#/models/{name}/versions/1")
    browser.refresh()
    find(browser, "//*[contains(@class, 'mlflow-stage-transition-dropdown')]").click()
    find(browser, "//*[@role='menuitem'][contains(., 'Production')]").click()
    find(browser, "//*[@role='dialog']//button[contains(., 'OK')]").click()


def test_the_registry_ui_refuses_the_author_and_obeys_a_reviewer(
    browser: WebDriver, logins: str, checked: World, pictures: Path
) -> None:
    check.check(checked.candidate("ui"))
    move_in_the_ui(browser, logins, "ui", who="ana")
    assert "author ana does not count" in saying(browser, "ui/1 may not enter Production")
    browser.save_screenshot(str(pictures / "refused-in-the-ui.png"))
    assert checked.stages("ui") == {1: (Stage.NONE, ())}
    move_in_the_ui(browser, logins, "ui", who="bo")
    WebDriverWait(browser, WAIT).until(lambda _: checked.stages("ui") == {1: (Stage.PRODUCTION, ("champion",))})
    browser.refresh()
    saying(browser, "by moving it to Production")
    browser.save_screenshot(str(pictures / "moved-in-the-ui.png"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: a folder named by SLIPWAY_PICTURES, else nowhere that lasts."""
    folder = Path(os.environ.get("SLIPWAY_PICTURES", str(tmp_path)))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
