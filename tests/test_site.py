"""The documentation site: it builds without a warning, its generated pages are complete, and it fits small screens."""

from __future__ import annotations

import doctest
import html
import inspect
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import zoo
from zoo.manifest import api
from zoo.models.detectors.base import Detector

ROOT = Path(__file__).resolve().parents[1]
pytest.importorskip("mkdocs", reason="mkdocs is not installed (the extra `docs`)")
pytest.importorskip("material", reason="mkdocs-material is not installed (the extra `docs`)")
pytest.importorskip("mkdocstrings", reason="mkdocstrings is not installed (the extra `docs`)")
PUBLIC = [name for name in zoo.__all__ if not inspect.isclass(getattr(zoo, name))]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` builds it; every warning is an error."""
    from mkdocs.commands.build import build
    from mkdocs.config import load_config

    folder = tmp_path_factory.mktemp("site")
    config = load_config(str(ROOT / "mkdocs.yml"), strict=True, site_dir=str(folder))
    config.plugins.on_startup(command="build", dirty=False)
    build(config)
    return folder


def words(page: Path) -> str:
    """The text of a page's article."""
    text = page.read_text()
    article = text[text.index("<article") : text.index("</article")]
    return html.unescape(re.sub(r"<[^>]+>", "", article))


def test_every_model_with_weights_is_on_its_familys_page(site):
    pages = {path.parent.name: words(path) for path in (site / "families").glob("*/index.html")}
    for name in api.catalog().models:
        entry = zoo.get(name)
        if entry.checkpoint is not None and entry.origin != "user":
            page = pages[entry.family.replace("+", "_")]
            assert name in page, name
            assert (value := entry.metric("box_ap")) is None or f"{value:.1f}" in page


@pytest.mark.parametrize("family, publisher", [("retinanet", "MMDetection 2.x"), ("rtmdet", "MMDetection 3.x")])
def test_a_family_says_who_published_its_weights(site, family, publisher):
    assert f"Weights published by {publisher}" in words(site / "families" / family / "index.html")


@pytest.mark.parametrize(
    "program, command, option", [("zoo", "zoo train", "--resume"), ("bench", "bench check", "--junit")]
)
def test_the_reference_has_commands_and_options(site, program, command, option):
    text = words(site / "reference" / program / "index.html")
    assert command in text and option in text


def test_the_reference_has_every_public_name(site):
    page = (site / "reference" / "api" / "index.html").read_text()
    missing = [name for name in zoo.__all__ if f'.{name}"' not in page]
    assert not missing


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_function_states_arguments_result_errors_and_an_example(name):
    documented = inspect.getdoc(getattr(zoo, name)) or ""
    for section in ("Args:", "Returns:", "Raises:", "Examples:"):
        assert re.search(rf"^{section}$", documented, re.M), section


@pytest.mark.parametrize(
    "documented", [*(getattr(zoo, name) for name in PUBLIC), Detector.detect], ids=lambda f: f.__name__
)
def test_an_example_of_the_reference_prints_what_it_states(documented, monkeypatch, tmp_path):
    monkeypatch.setenv("ZOO_CACHE", str(tmp_path))
    monkeypatch.setenv("ZOO_OFFLINE", "1")
    failures: list[str] = []
    for test in doctest.DocTestFinder(recurse=False).find(documented, documented.__name__, globs={}):
        assert test.examples
        doctest.DocTestRunner(verbose=False).run(test, out=failures.append)
    assert not failures, "".join(failures)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    webdriver = pytest.importorskip("selenium.webdriver")
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--allow-file-access-from-files"):
        options.add_argument(argument)
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield opened
    opened.quit()


@pytest.mark.parametrize("width", [1400, 390])
@pytest.mark.parametrize("page", ["index.html", "families/retinanet/index.html", "reference/api/index.html"])
def test_a_page_fits_its_screen(site, browser, page, width):
    """Screenshots are kept in the folder that SCREENSHOTS names."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get((site / page).as_uri())
    assert browser.find_element("css selector", "h1").text
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(f"{folder}/site_{page.replace('/', '_').removesuffix('.html')}_{width}.png")
