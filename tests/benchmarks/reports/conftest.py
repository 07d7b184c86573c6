"""A browser, and the page of a few models in it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.benchmarks.reports.pages import NAMES, names, wait, write


@pytest.fixture(scope="package")
def page(tmp_path_factory) -> Path:
    pytest.importorskip("plotly", reason="the HTML report needs plotly")
    return write(tmp_path_factory.mktemp("html"), NAMES)


@pytest.fixture(scope="package")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    profile = tmp_path_factory.mktemp("profile")
    quiet = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-sync"
    for flag in (*quiet.split(), "disable-component-update", "window-size=1400,1000", f"user-data-dir={profile}"):
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    window = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield window
    window.quit()


@pytest.fixture
def opened(browser, page):
    """The browser with the page as it is at first."""
    browser.get("about:blank")
    browser.get(page.as_uri())
    wait(browser, lambda: names(browser))
    return browser
