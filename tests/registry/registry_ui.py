"""MLflow's own registry UI in Chromium, done by hand as a person would; it knows nothing of slipway."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from tests.registry.matrix import DESCRIBED, Registry, Told
from tests.registry.servers import ADMIN, PASSWORD

WAIT = 60
OFTEN = 0.03  # seconds between two looks
# Light, and without the assistant in front of it.
SETTINGS = {
    "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true",
    "mlflow.assistant.panelOpen_v1": "false",
}
STAGES = "_mlflow_user_setting_dismiss_next_model_registry_ui"  # the switch "New model registry UI" is off

# How many requests of the page are under way, and what the server answered to those that would change something.
LISTENING = """
window.flying = 0;
window.answers = [];
const asking = window.fetch;
window.fetch = async (...asked) => {
  window.flying += 1;
  try {
    const answer = await asking(...asked);
    const method = asked[1]?.method ?? asked[0].method ?? 'GET';
    if (method !== 'GET' && /(model-versions|registered-models)[/]/.test(answer.url) && !/search/.test(answer.url))
      window.answers.push({status: answer.status, text: await answer.clone().text()});
    return answer;
  } finally {
    window.flying -= 1;
  }
};
"""

CLOSING = """
const front = [...document.querySelectorAll('[role=dialog] button, [class*=notification-notice-close]')];
const seen = front.filter(one => one.offsetParent);
seen.filter(one => one.textContent === 'Cancel' || /notice-close/.test(one.className)).forEach(one => one.click());
return !seen.length;
"""

# What the dialogs and notes in front of the page say: the whole page's text is a hundred times that to lay out.
SAYING = """
const front = [...document.querySelectorAll('[role=dialog], [class*=notification-notice]')];
return front.filter(one => one.getClientRects().length).map(one => one.innerText).join(' ');
"""
MOVING = "return document.getAnimations().some(one => one.effect.target?.closest('[class*=notification]'))"


def wait(browser: WebDriver, seen: Callable[[WebDriver], Any], message: str) -> Any:
    waiting = WebDriverWait(browser, WAIT, poll_frequency=OFTEN, ignored_exceptions=[StaleElementReferenceException])
    return waiting.until(seen, message=message)


def find(browser: WebDriver, xpath: str) -> WebElement:
    """The first element like this that can be seen, once it can."""

    def seen(_: WebDriver) -> WebElement | None:
        return next((e for e in browser.find_elements(By.XPATH, xpath) if e.is_displayed()), None)

    found = wait(browser, seen, xpath)
    assert isinstance(found, WebElement)
    return found


def saying(browser: WebDriver, text: str) -> str:
    """Wait until the page says this somewhere; answers with all that it says."""
    wait(browser, lambda _: text in words(browser), text)
    return words(browser)


def words(browser: WebDriver) -> str:
    """All that can be read on the page, line breaks as spaces."""
    return " ".join(str(browser.execute_script("return document.body.innerText")).split())


def log_in(browser: WebDriver, name: str) -> None:
    """Send this login along from here on (with it in the address, pages may not fetch)."""
    login = base64.b64encode(f"{name}:{ADMIN[1] if name == ADMIN[0] else PASSWORD}".encode()).decode()
    browser.execute_cdp_cmd("Network.enable", {})
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {"Authorization": f"Basic {login}"}})


def set_up(browser: WebDriver, address: str, more: Mapping[str, str]) -> None:
    """Write MLflow's settings of this browser, as its own switches do; the next page is loaded with them."""
    browser.get(f"{address}/health")  # as good as any page of the server, and loads nothing
    for key, value in {**SETTINGS, **more}.items():
        browser.execute_script("localStorage.setItem(arguments[0], arguments[1])", key, value)


def log_out(browser: WebDriver) -> None:
    """From here on nobody is logged in."""
    browser.execute_cdp_cmd("Network.setExtraHTTPHeaders", {"headers": {}})


def _named(name: str) -> str:
    return f"@data-testid='{name}' or @data-test-id='{name}'"


def _row_of(key: str) -> str:
    return f"//*[@role='row' or self::tr][contains(., '{key}')]"


_ITEM = "//*[@role='menuitem']"
_TAG = "tags-form-input-"
_MENU = f"//*[{_named('overflow-menu-trigger')}]"
_DIALOG = "//*[@role='dialog']"


class NotOffered(Exception):
    """The registry UI has no way to do this, as the document's table says it."""


@dataclass
class ByUI(Registry):
    """The same actions by hand in the registry UI; a test sets up over REST what it then does here.

    Each answers with what the server said to the page's own request, once the page has shown that reason to the person.
    `shown` is the page that is open, and whether it is the one with stages.
    """

    browser: WebDriver = field(kw_only=True)
    shown: tuple[str, bool] | None = None

    def listen(self) -> None:
        """Once, before any page: what the server answers is noted, and nothing glides or fades."""
        still = [{"name": "prefers-reduced-motion", "value": "reduce"}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": still})
        self.browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": LISTENING})

    def open(self, who: str | None, page: str, *, stages: bool = False) -> None:
        """The page as this person; the one that is open already stays, without what it said last."""
        assert who, "nobody sees a page without a login"
        log_in(self.browser, who)
        if self.shown is None or self.shown[1] is not stages:
            set_up(self.browser, self.address, {STAGES: json.dumps(stages)})
        if self.shown != (page, stages):
            self.browser.get(f"{self.address}/#/models/{page}")
            if "/" not in page:
                self.browser.refresh()  # from one model's page to another's MLflow 3.17 shows nothing
            self.shown = page, stages
            model = page.partition("/")[0]
            title = f"//*[{_named('breadcrumbRegisteredModel')}]" if "/" in page else "//h1|//h2|//h3"
            wait(self.browser, lambda _: find(self.browser, title).text == model, page)
            wait(self.browser, lambda b: b.execute_script("return window.flying === 0"), "the page's own requests")
        self.browser.execute_script("window.answers.length = 0")

    def told(self) -> Told:
        """What came of it: the server's answer, and a refusal's reason once the page says it, word for word."""
        told = self.answered()
        if not told.ok:
            reason = " ".join(json.loads(told.text)["message"].split())
            wait(self.browser, lambda b: reason in " ".join(str(b.execute_script(SAYING)).split()), reason)
            self.close()
        return told

    def answered(self) -> Told:
        """What did the server say to the one request that would change something?"""
        (answer,) = wait(self.browser, lambda b: b.execute_script("return window.answers"), "an answer")
        return Told(answer["status"], answer["text"])

    def close(self) -> None:
        """Put away the dialogs that a refusal leaves open, and what it said."""
        wait(self.browser, lambda b: b.execute_script(CLOSING), "nothing in front of the page")

    def press(self, xpath: str) -> None:
        """Click on it, once it can be seen."""
        find(self.browser, xpath).click()

    def paste(self, text: str) -> None:
        """Into the field that has the cursor."""
        self.browser.execute_cdp_cmd("Input.insertText", {"text": text})

    # --- stages

    def move(self, who: str | None, name: str, stage: str) -> Any:
        self.begin_move(who, name, stage)
        self.confirm_move()
        return self.told()

    def begin_move(self, who: str | None, name: str, stage: str) -> None:
        """Pick a stage in the stage menu."""
        self.open(who, f"{name}/versions/1", stages=True)
        self.press("//*[contains(@class, 'mlflow-stage-transition-dropdown')]")
        self.press(f"{_ITEM}[contains(., '{stage}')]")

    def confirm_move(self) -> None:
        """Press OK."""
        self.press(f"{_DIALOG}//button[contains(., 'OK')]")

    def move_a_copy(self, who: str | None, name: str) -> Any:
        copy = f"{name}-copy"
        if self.ask("ana", "POST", "mlflow/registered-models/create", json={"name": copy}).ok:
            said = {"name": copy, "source": f"models:/{name}/1", "run_id": self.run["run_id"]}
            self._done("ana", "POST", "mlflow/model-versions/create", json=said)
        return self.move(who, copy, "Production")

    def register(self, who: str | None, name: str) -> Any:
        return self.promote(who, name, name)

    def promote(self, who: str | None, name: str, target: str) -> Told:
        """Copy version 1 to a model: what this UI calls to promote."""
        self.open(who, f"{name}/versions/1")
        self.press("//button[.='Promote model']")
        find(self.browser, f"{_DIALOG}//input").send_keys(target)
        self.press(f"//*[contains(@class, 'select-item-option')][@title='{target}' or .='{target}']")
        self.press(f"{_DIALOG}//button[.='Promote']")
        return self.told()

    # --- aliases

    def alias(self, who: str | None, name: str, alias: str) -> Any:
        return self._aliased(who, name, f"{alias}{Keys.ENTER}")

    def unalias(self, who: str | None, name: str, alias: str) -> Any:
        return self._aliased(who, name, Keys.BACKSPACE)

    def _aliased(self, who: str | None, name: str, keys: str) -> Told:
        """From the model's page: on the version's, MLflow 3.17 forgets the model's name when the version came first."""
        self.open(who, name)
        self.press("//button[contains(@data-component-id, 'aliases')]")
        find(self.browser, f"{_DIALOG}//input").send_keys(keys)
        self.press(f"{_DIALOG}//button[.='Save aliases']")
        return self.told()

    # --- tags

    def tag(self, who: str | None, name: str, key: str, value: str) -> Any:
        self.open(who, f"{name}/versions/1")
        if not any(e.is_displayed() for e in self.browser.find_elements(By.XPATH, f"//input[{_named(_TAG + 'name')}]")):
            self.press("//*[@role='button'][.='Tags']")  # folded while there are none
        for of, text in (("name", key), ("value", value)):
            field_ = find(self.browser, f"//input[{_named(_TAG + of)}]")
            field_.send_keys(Keys.CONTROL, "a")
            self.paste(text)
        self.press(f"//button[{_named('add-tag-button')}]")
        return self.told()

    def untag(self, who: str | None, name: str, key: str) -> Any:
        self.open(who, f"{name}/versions/1")
        self.press(f"{_row_of(key)}//button[{_named('editable-table-button-delete')}]")
        self.press(f"{_DIALOG}//button[.='Confirm']")
        return self.told()

    def edit_tag(self, who: str, name: str, key: str, value: str) -> Any:
        """With the pencil, another value for a tag that is there."""
        self.open(who, f"{name}/versions/1")
        self.press(f"{_row_of(key)}//button[{_named('editable-table-button-edit')}]")
        find(self.browser, f"//input[{_named('editable-table-edited-input')}]").send_keys(Keys.CONTROL, "a")
        self.paste(value)
        self.press(f"//button[{_named('editable-table-button-save')}]")
        return self.told()

    # --- the rest

    def describe(self, who: str | None, name: str) -> Any:
        """A refusal is the one thing that MLflow's page keeps to itself; who looks again sees the old words."""
        self.open(who, f"{name}/versions/1")
        self.press(f"//*[{_named('descriptionEditButton')}]")
        find(self.browser, f"//textarea[{_named('text-area')}]").send_keys(DESCRIBED)
        self.press(f"//button[{_named('editable-note-save-button')}]")
        told = self.answered()
        if not told.ok:
            self.browser.refresh()
            assert DESCRIBED not in saying(self.browser, f"approve or reject {name}/1".capitalize())
        return told

    def delete(self, who: str | None, name: str) -> Any:
        return self._deleted(who, f"{name}/versions/1")

    def delete_model(self, who: str | None, name: str) -> Any:
        return self._deleted(who, name)

    def _deleted(self, who: str | None, page: str) -> Told:
        self.open(who, page)
        self.press(_MENU)
        if find(self.browser, f"{_ITEM}[.='Delete']").get_attribute("aria-disabled") == "true":
            self._leave()
            raise NotOffered("greyed out")
        self.press(f"{_ITEM}[.='Delete']")
        self.press(f"{_DIALOG}//button[.='Delete']")
        return self.told()

    def rename(self, who: str | None, name: str) -> Any:
        self.open(who, name)
        self.press(_MENU)
        find(self.browser, _ITEM)
        items = [item.text for item in self.browser.find_elements(By.XPATH, _ITEM)]
        self._leave()
        assert items == ["Delete"], "MLflow's menu has grown: drive what is new"
        raise NotOffered("not offered")

    def file(self, who: str | None, method: str, name: str) -> Any:
        raise NotOffered("not offered")  # its pages show and download files, and have no field for one

    def _leave(self) -> None:
        self.browser.refresh()
        self.shown = None
