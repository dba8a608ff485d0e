"""The page that `slipway serve` shows at /, tried as a person would: drawn on, typed into, filled in, in Chromium."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from serving.runtime.server.pages import PAGE
from tests.chromium import chromium

from .small import ServerFront, bundle_of, server

GOLDEN = Path(__file__).parents[1] / "golden" / "bundles"
DIGITS, TEXT, PEOPLE = "0.1-images-cnn", "0.1-text-gru", "0.1-tabular-dnn-people"
Open = Callable[[str], ServerFront]


@pytest.fixture(scope="module")
def browser() -> Iterator[WebDriver]:
    opened = chromium(1100, 840)
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    """The server of a golden or a small bundle, started once."""
    with ExitStack() as stack:
        fronts: dict[str, ServerFront] = {}

        def of(name: str) -> ServerFront:
            if name not in fronts:
                folder = GOLDEN / name
                bundle = folder if folder.is_dir() else bundle_of(name, tmp_path_factory.mktemp(name) / "bundle")
                fronts[name] = stack.enter_context(server(bundle))[0]
            return fronts[name]

        yield of


@pytest.fixture
def opened(browser: WebDriver, served: Open) -> Open:
    """The page of this model, in the browser."""

    def of(name: str) -> ServerFront:
        front = served(name)
        browser.get(f"http://127.0.0.1:{front.port}/")
        return front

    return of


@pytest.fixture
def shot(browser: WebDriver, tmp_path: Path) -> Callable[[str], None]:
    """Keep a screenshot: in the folder named by SLIPWAY_PICTURES, else nowhere that lasts."""
    folder = Path(os.environ.get("SLIPWAY_PICTURES", str(tmp_path)))
    folder.mkdir(parents=True, exist_ok=True)
    return lambda name: (browser.save_screenshot(str(folder / f"{name}.png")), None)[1]


def at(browser: WebDriver, css: str) -> WebElement:
    return browser.find_element(By.CSS_SELECTOR, css)


def asked(browser: WebDriver, wanted: str = "#said") -> str:
    """Press the button and wait for an answer (or for another part of the page); what it says."""
    browser.execute_script("document.getElementById('answer').replaceChildren()")
    at(browser, "#ask").click()
    WebDriverWait(browser, 20).until(lambda b: b.find_elements(By.CSS_SELECTOR, f"#answer {wanted}"), message=wanted)
    return at(browser, f"#answer {wanted}").text


def bars(browser: WebDriver) -> dict[str, float]:
    lines = [line.text.splitlines() for line in browser.find_elements(By.CSS_SELECTOR, "#answer .bar")]
    return {label: float(share.removesuffix(" %")) for label, share in lines}


def drawn(browser: WebDriver, points: list[tuple[float, float]]) -> None:
    """Draw one line on the canvas with the mouse; points are shares of its size, from its middle."""
    canvas, mouse = at(browser, "#canvas"), ActionChains(browser, duration=8)
    places = [(int(x * canvas.size["width"]), int(y * canvas.size["height"])) for x, y in points]
    mouse.move_to_element_with_offset(canvas, *places[0]).click_and_hold()
    for place in places[1:]:
        mouse.move_to_element_with_offset(canvas, *place)
    mouse.release().perform()


def ring() -> list[tuple[float, float]]:
    return [(0.22 * np.sin(a), -0.37 * np.cos(a)) for a in np.linspace(0, 2 * np.pi, 25)]


@pytest.mark.parametrize(("digit", "lines"), [
    ("0", [ring()]), ("1", [[(-0.12, -0.2), (0.03, -0.38), (0.03, 0.38)]]),
    # The people whose digits it learnt from put a bar through it.
    ("7", [[(-0.2, -0.42), (0.2, -0.42), (0.0, 0.44)], [(-0.18, 0.06), (0.22, 0.0)]])])
def test_a_digit_drawn_with_the_mouse_is_read_by_the_real_network(
        digit: str, lines: list[list[tuple[float, float]]], browser: WebDriver, opened: Open,
        shot: Callable[[str], None]) -> None:
    opened(DIGITS)
    for line in lines:
        drawn(browser, line)
    assert asked(browser) == digit
    shot(f"try-image-{digit}")
    shares = bars(browser)
    assert list(shares) == [str(n) for n in range(10)]
    assert max(shares, key=lambda label: shares[label]) == digit
    assert sum(shares.values()) == pytest.approx(100, abs=1)


def test_a_chosen_png_is_answered_as_its_pixels_are(browser: WebDriver, opened: Open, tmp_path: Path) -> None:
    front = opened("pixels")
    dots = np.random.default_rng(3).integers(0, 256, (8, 8), np.uint8)
    Image.fromarray(dots).save(tmp_path / "dots.png")
    at(browser, "#file").send_keys(str(tmp_path / "dots.png"))
    WebDriverWait(browser, 20).until(lambda b: sum(_sent(b)) > 0)
    asked(browser)
    body = io.BytesIO()
    Image.fromarray(dots).save(body, "PNG")
    wanted = front.ask(body.getvalue(), content_type="image/png").json["predictions"][0]
    assert list(bars(browser).values()) == pytest.approx([100 * share for share in wanted], abs=0.1)


def _sent(browser: WebDriver) -> list[int]:
    """The grey values that the page would send."""
    return list(browser.execute_script(
        "const c = document.getElementById('seen');"
        "return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data].filter((_, i) => i % 4 === 0)"))


def test_a_picture_of_another_size_is_brought_to_the_models(browser: WebDriver, opened: Open, tmp_path: Path) -> None:
    opened("pixels")
    Image.new("L", (300, 150), 255).save(tmp_path / "wide.jpg")
    at(browser, "#file").send_keys(str(tmp_path / "wide.jpg"))
    WebDriverWait(browser, 20).until(lambda b: sum(_sent(b)) > 0)
    grey = np.array(_sent(browser)).reshape(8, 8)
    assert (grey[[0, 1, 6, 7]] < 8).all()
    assert (grey[2:6] > 247).all()
    asked(browser)


def test_clear_leaves_an_empty_canvas(browser: WebDriver, opened: Open) -> None:
    opened("pixels")
    drawn(browser, ring())
    assert sum(_sent(browser)) > 0
    at(browser, "#clear").click()
    assert sum(_sent(browser)) == 0


def test_a_file_that_is_no_picture_is_named(browser: WebDriver, opened: Open, tmp_path: Path) -> None:
    opened("pixels")
    (tmp_path / "notes.png").write_text("no picture")
    at(browser, "#file").send_keys(str(tmp_path / "notes.png"))
    WebDriverWait(browser, 20).until(lambda b: b.find_elements(By.CSS_SELECTOR, "#answer .fault"))
    assert "notes.png is no picture" in at(browser, "#answer .fault").text


def test_a_typed_sentence_is_judged(browser: WebDriver, opened: Open, shot: Callable[[str], None]) -> None:
    front = opened(TEXT)
    sentence = "What a good film, warm and \"funny\"!\nI'd see it again."
    at(browser, "#text").send_keys(sentence)
    said = asked(browser)
    shot("try-text")
    wanted = front.ask(sentence.encode(), content_type="text/plain").json
    assert said == wanted["labels"][0]
    assert list(bars(browser)) == ["negative", "positive"]
    for word in wanted["unknown"][0]["words"]:
        assert word in at(browser, "#answer").text


def test_a_filled_in_form_is_answered(browser: WebDriver, opened: Open, shot: Callable[[str], None]) -> None:
    front = opened(PEOPLE)
    for name, value in (("age", "41.5"), ("hours", "38")):
        at(browser, f"[name={name}]").clear()
        at(browser, f"[name={name}]").send_keys(value)
    Select(at(browser, "[name=city]")).select_by_visible_text("Paris")
    Select(at(browser, "[name=job]")).select_by_visible_text("another value ...")
    at(browser, "[name='job (other)']").send_keys("astronaut")
    said = asked(browser)
    shot("try-form")
    row = {"age": 41.5, "hours": 38, "city": "Paris", "job": "astronaut"}
    wanted = front.ask(json.dumps({"instances": [row]}).encode(), content_type="application/json").json
    assert said == wanted["labels"][0]
    assert list(bars(browser).values()) == pytest.approx([100 * share for share in wanted["predictions"][0]], abs=0.1)
    assert "job astronaut" in at(browser, "#answer").text


def test_a_missing_number_and_a_missing_category_may_be_sent(browser: WebDriver, opened: Open) -> None:
    front = opened("table")
    at(browser, "[name=age]").clear()
    Select(at(browser, "[name=city]")).select_by_visible_text("(missing)")
    said = asked(browser)
    body = b'{"inputs": {"age": [null], "city": [null], "user": [2]}}'
    assert said == front.ask(body, content_type="application/json").json["labels"][0]


def test_several_values_of_one_input_are_given_by_commas(browser: WebDriver, opened: Open) -> None:
    front = opened("rows")
    at(browser, "[name=x]").clear()
    at(browser, "[name=x]").send_keys("1, 2, 3,4")
    asked(browser)
    wanted = front.ask(b"[[1,2,3,4]]", content_type="application/json").json["predictions"][0]
    assert list(bars(browser).values()) == pytest.approx([100 * share for share in wanted], abs=0.1)


def test_the_answer_names_the_model_its_version_and_its_digest(browser: WebDriver, opened: Open) -> None:
    opened("rows")
    asked(browser)
    assert at(browser, "#by").text.startswith("rows, version 3, in ")
    assert "d" * 64 in at(browser, "#answer").text
    assert at(browser, "h1").text == "rows version 3"


def test_a_refusal_is_read_as_the_server_words_it(
        browser: WebDriver, opened: Open, shot: Callable[[str], None]) -> None:
    opened("table")
    at(browser, "[name=user]").clear()
    at(browser, "[name=user]").send_keys("5")
    fault = asked(browser, ".fault")
    shot("try-refused")
    assert "Refused with status 422" in fault
    assert "user, row 0: 5 is not known to the model; wanted 0 to 4" in fault


def test_the_page_names_no_other_place() -> None:
    source = PAGE.read_text(encoding="utf-8")
    assert not re.search(r"(?:https?:)?//[a-z]|@import|url\(", re.sub(r"(?m) // .*$", "", source))
    assert set(re.findall(r'(?:src|href)="([^"]*)"', source)) == {"data:,", "openapi.json", "metrics"}


def test_a_label_that_looks_like_markup_stays_text(browser: WebDriver, opened: Open) -> None:
    opened("rows")
    browser.execute_script("facts.labels = ['<b>no</b>', '</script>']; "
                           "told({predictions: [[0.25, 0.75]], labels: ['</script>'], model: {}}, 1)")
    assert list(bars(browser)) == ["<b>no</b>", "</script>"]
