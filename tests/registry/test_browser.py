"""A reviewer in Chromium: the approvals page, and MLflow's own registry UI with our store behind it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import pytest
import requests
from matplotlib.figure import Figure
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from registry import Stage, check
from tests.chromium import chromium
from tests.registry.servers import ADMIN, PASSWORD
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
    login = base64.b64encode(f"{name}:{ADMIN[1] if name == ADMIN[0] else PASSWORD}".encode()).decode()
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
    check.check(checked.candidate("page", wrong=0.05))
    move_as_bo(logins, "page")
    version = checked.candidate("page")
    described(version.run_id)
    check.check(version)
    log_in(browser, "bo")
    browser.get(f"{logins}/slipway/approvals")
    saying(browser, "Versions that were checked")
    browser.save_screenshot(str(pictures / "approvals.png"))
    find(browser, "//a[text()='page/2']").click()
    page = saying(browser, "Candidate beside champion")
    assert "no approval" in page
    assert "against champion 1 (95 %" in page
    assert "Trained by ana" in page
    plot = find(browser, "//img")
    WebDriverWait(browser, WAIT).until(lambda _: int(str(plot.get_property("naturalWidth"))) > 0, message="the plot")
    find(browser, "//textarea").send_keys("the reds are fine")
    whole_page(browser, pictures / "approve.png")
    find(browser, "//button[text()='Approve']").click()
    assert "page/2 may enter Production" in saying(browser, "approved sha256")
    browser.save_screenshot(str(pictures / "approved.png"))


def move_as_bo(address: str, name: str) -> None:
    """A reviewer moves version 1 to Production, which approves it."""
    said: Any = {"name": name, "version": "1", "stage": "Production", "archive_existing_versions": True}
    url = f"{address}/api/2.0/mlflow/model-versions/transition-stage"
    requests.post(url, json=said, auth=("bo", PASSWORD), timeout=30).raise_for_status()


def described(run_id: str) -> None:
    """What training leaves on a run: its code, its data, a parameter and a picture."""
    client, figure = mlflow.MlflowClient(), Figure(figsize=(4, 3), layout="constrained")
    tags = {"slipway.git.commit": "4f1c" * 10, "slipway.data.train": "9e0d" * 16, "slipway.data.test": "71ab" * 16}
    for key, value in {**tags, "mlflow.user": "ana"}.items():
        client.set_tag(run_id, key, value)
    client.log_param(run_id, "flipped", "none")
    axes = figure.subplots()
    axes.imshow([[97, 3], [2, 98]], cmap="Blues")
    axes.set(title="confusion", xlabel="said", ylabel="true", xticks=[0, 1], yticks=[0, 1])
    client.log_figure(run_id, figure, "plots/confusion.png")


def whole_page(browser: WebDriver, path: Path) -> None:
    """A screenshot of the page from top to bottom."""
    taken = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})
    path.write_bytes(base64.b64decode(taken["data"]))


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


def test_the_registry_ui_refuses_author_ci_and_admin_and_obeys_a_reviewer(
    browser: WebDriver, logins: str, checked: World, pictures: Path
) -> None:
    check.check(checked.candidate("ui"))
    move_in_the_ui(browser, logins, "ui", who="ana")
    assert "author ana does not count" in saying(browser, "ui/1 may not enter Production")
    browser.save_screenshot(str(pictures / "refused-in-the-ui.png"))
    for who, why in (("ci", "ci is a CI identity"), ("root", "root is not among the policy's approvers")):
        move_in_the_ui(browser, logins, "ui", who=who)
        assert why in saying(browser, why)
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
