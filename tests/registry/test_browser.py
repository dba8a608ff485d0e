"""A reviewer in Chromium: the approvals page, and MLflow's own registry UI with our store behind it."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest
import requests
from matplotlib.figure import Figure
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver

from registry import Evidence, Stage, check
from tests.chromium import chromium
from tests.registry.registry_ui import MOVING, ByUI, find, log_in, saying, set_up, wait
from tests.registry.servers import PASSWORD
from tests.registry.world import ROWS, World

COLOURS = np.where(np.arange(ROWS) % 3, "blue", "red")


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    opened = chromium()
    yield opened
    opened.quit()


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
    version = checked.candidate("page", colour=COLOURS)
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
    assert "colour=red 67 accuracy" in page
    plot = find(browser, "//img")
    wait(browser, lambda _: int(str(plot.get_property("naturalWidth"))) > 0, "the plot")
    find(browser, "//textarea").send_keys("the reds are fine")
    whole_page(browser, pictures / "approve.png")
    find(browser, "//button[text()='Approve']").click()
    assert "page/2 may enter Production" in saying(browser, "approved sha256")
    browser.save_screenshot(str(pictures / "approved.png"))


def test_the_report_of_a_check_is_a_page_in_the_runs_artifacts_and_the_same_page_when_downloaded(
    browser: WebDriver, logins: str, checked: World, pictures: Path
) -> None:
    check.check(checked.candidate("report"))
    move_as_bo(logins, "report")
    version = checked.candidate("report", wrong=0.2, colour=COLOURS)
    found = check.check(version, draw=True)
    run_id = version.run_id
    log_in(browser, "bo")
    set_up(browser, logins, {})
    browser.get(f"{logins}/#/experiments/0/runs/{run_id}/artifacts/check/report.html")
    browser.switch_to.frame(find(browser, "//iframe"))
    read_as_a_report(browser, found)
    browser.switch_to.default_content()
    browser.save_screenshot(str(pictures / "report-in-the-run.png"))
    kept = mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path="check/report.html",
                                               dst_path=str(checked.folder))  # fmt: skip
    browser.get(Path(kept).as_uri())
    read_as_a_report(browser, found)
    whole_page(browser, pictures / "report.png")


def read_as_a_report(browser: WebDriver, found: Evidence) -> None:
    """The page that is open says what the check found, and shows every figure."""
    page = saying(browser, f"report/2 {'every gate passed' if found.passed else 'not every gate passed'}")
    for verdict in found.verdicts:
        assert f"{verdict.gate} {verdict.outcome.value} {verdict.reason}" in page
    assert "beside report/1, which is in Production" in page
    assert "against champion 1 (95 %" in page
    assert "colour=red 67" in page
    pictures = browser.find_elements(By.TAG_NAME, "img")
    titles = ["Measures", "Confusion", "Precision and recall", "Calibration"]
    assert [picture.get_attribute("alt") for picture in pictures] == titles
    wait(browser, lambda _: all(int(str(one.get_property("naturalWidth"))) > 0 for one in pictures), "the figures")


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


def test_the_registry_ui_refuses_author_ci_and_admin_and_obeys_a_reviewer(
    browser: WebDriver, logins: str, checked: World, pictures: Path
) -> None:
    check.check(checked.candidate("ui"))
    ui = ByUI(logins, {}, browser=browser)
    ui.listen()
    for who, why in (("ana", "author ana does not count"), ("ci", "ci is a CI identity"),
                     ("root", "root is not among the policy's approvers")):  # fmt: skip
        ui.begin_move(who, "ui", "Production")
        ui.confirm_move()
        told = saying(browser, "ui/1 may not enter Production")
        assert why in told
        assert f"Next: slipway approve ui/1; in a browser: {logins}/slipway/approvals/ui/1" in told
        wait(browser, lambda b: not b.execute_script(MOVING), "the reason in its place")
        browser.save_screenshot(str(pictures / f"refused-in-the-ui-{who}.png"))
        ui.close()
    assert checked.stages("ui") == {1: (Stage.NONE, ())}
    assert ui.move("bo", "ui", "Production").ok
    assert checked.stages("ui") == {1: (Stage.PRODUCTION, ("champion",))}
    browser.refresh()
    saying(browser, "by moving it to Production")
    browser.save_screenshot(str(pictures / "moved-in-the-ui.png"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots go: a folder named by SLIPWAY_PICTURES, else nowhere that lasts."""
    folder = Path(os.environ.get("SLIPWAY_PICTURES", str(tmp_path)))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
