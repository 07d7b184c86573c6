"""The page: self-contained, complete, and usable in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import zoo
from benchmarks import cli
from benchmarks.record import Record, failed
from benchmarks.reports import html

pytest.importorskip("plotly", reason="the HTML report needs plotly")

NAMES = ["faster_rcnn_r50_fpn_1x_coco", "retinanet_r50_fpn_1x_coco", "yolox_s_8x8_300e_coco", "vfnet_r50_fpn_1x_coco"]
RECORDS = [
    Record(NAMES[0], "inference", "steady", metrics={"fps": 3.25, "latency_ms_p50": 307.7, "parameters": 41_753_286}),
    Record(NAMES[0], "training", "mmdet-v2", samples={"loss": [3.0, 2.0, 1.5]}, metrics={"s_per_iter": 1.0}),
    failed(NAMES[1], "inference", "out of memory </script> <b>"),
    Record("my_own_model", "inference", "steady", metrics={"fps": 9.0}),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("html") / "report.html"
    file.write_text(html.render([zoo.get(name) for name in NAMES], RECORDS), encoding="utf-8")
    return file


def data_of(page: Path) -> dict:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.S)
    assert found
    return json.loads(found[1])


def test_every_model_and_every_record_is_in_the_page(page):
    models = {m["name"]: m for m in data_of(page)["models"]}
    assert set(models) == {*NAMES, "my_own_model"}
    assert models[NAMES[0]]["box_ap"] == 37.4
    assert models[NAMES[0]]["measured_fps"] == 3.25
    assert models[NAMES[1]]["records"][0]["status"] == "failed"
    assert models[NAMES[1]]["measured_fps"] is None


def test_text_cannot_end_the_script_that_carries_it(page):
    assert "out of memory </script>" not in page.read_text()


def test_the_page_loads_nothing(page):
    shell = re.sub(r"<script.*?</script>|<style>.*?</style>", "", page.read_text(), flags=re.S)
    assert not re.search(r'(src|href)="https?:', shell)
    assert "@import" not in page.read_text().split("</style>")[0]


def test_the_command_writes_it(tmp_path):
    out = tmp_path / "report.html"
    options = ["--results", str(tmp_path / "none.db"), "--model", "yolox*", "--out", str(out)]
    assert cli.main(["report", "--html", *options]) == 0
    assert [m["name"] for m in data_of(out)["models"]] == zoo.list_models("yolox*")


@pytest.fixture(scope="module")
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


def names(browser) -> list[str]:
    return [cell.text for cell in browser.find_elements("css selector", "#table tbody td:first-child")]


def test_it_works_in_a_browser(browser, page):
    browser.get(page.as_uri())
    assert sorted(names(browser)) == sorted(NAMES)  # the data set is COCO at first
    assert names(browser)[0] == "vfnet_r50_fpn_1x_coco"  # the best box AP first
    browser.find_element("xpath", "//th/button[starts-with(., 'Model')]").click()
    assert names(browser) == sorted(NAMES)
    browser.find_element("id", "search").send_keys("yolox")
    assert names(browser) == ["yolox_s_8x8_300e_coco"]
    browser.find_element("id", "search").clear()
    browser.find_element("id", "search").send_keys("faster ")
    browser.find_element("link text", NAMES[0]).click()
    assert "torchvision" in browser.find_element("id", "detail").text
    assert "307.7" in browser.find_element("id", "detail").text
    assert browser.find_elements("css selector", "#detail .curve svg")
    browser.find_element("link text", "All models").click()
    assert browser.find_element("id", "overview").is_displayed()


def test_a_point_of_the_plot_says_which_model_it_is(browser, page):
    from selenium.webdriver import ActionChains

    browser.get(page.as_uri() + "#")
    browser.refresh()
    point = browser.find_elements("css selector", "#plot .scatterlayer .point")[0]
    ActionChains(browser).move_to_element(point).perform()
    assert any(text.text for text in browser.find_elements("css selector", "#plot .hoverlayer text"))


def test_the_browser_has_nothing_to_complain_about_and_asks_for_nothing(browser, page):
    browser.get_log("performance")
    browser.get(page.as_uri())
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
