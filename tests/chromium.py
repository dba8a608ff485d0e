"""Debian's Chromium without a window, for tests that look at pages as people do."""

from __future__ import annotations

import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webdriver import WebDriver


def chromium(width: int = 1280, height: int = 1000) -> WebDriver:
    """A browser; whoever opens it quits it. Skips the test where none is installed."""
    driver, found = shutil.which("chromedriver"), shutil.which("chromium")
    if not driver or not found:
        pytest.skip("needs Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", f"--window-size={width},{height}"):
        options.add_argument(word)
    return webdriver.Chrome(options=options, service=Service(driver))
