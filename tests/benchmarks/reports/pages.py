"""A page of a few models, in a browser: what the tests of the HTML report and of sites share."""

from __future__ import annotations

import base64
import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import zoo
from benchmarks.reports import html
from benchmarks.results.record import Record, failed

NAMES = ["faster_rcnn_r50_fpn_1x_coco", "retinanet_r50_fpn_1x_coco", "yolox_s_8x8_300e_coco", "vfnet_r50_fpn_1x_coco"]
CURVES = {"loss_at": [0.5, 1.0, 1.5], "loss": [3.0, 2.0, 1.5], "box_ap_at": [1.0], "box_ap": [37.0]}
DEVICE = {"device": "AMD EPYC"}
RECORDS = [
    Record(
        NAMES[0],
        "inference",
        "interleaved",
        metrics={"fps": 3.25, "latency_ms_p50": 307.7, "parameters": 41_753_286},
        environment=DEVICE,
    ),
    Record(NAMES[0], "inference", "interleaved", {"batch": 8, "options": {"amp": "bf16"}}, {"fps": 99.0}),
    Record(NAMES[0], "accuracy", "coco", {"dataset": "coco_2017"}, {"box_ap": 0.372, "box_ap_large": -1.0}),
    Record(NAMES[0], "log", "mmdetection", metrics={"epochs": 2}, samples=CURVES),
    failed(NAMES[1], "inference", "out of memory <!-- <script> </script> <b>"),
    Record("my_own_model", "inference", "interleaved", metrics={"fps": 9.0}),
    Record("demo_atss", "accuracy", "coco", {"dataset": "demo"}, {"box_ap": 0.7}),
]
IMAGE = Path(__file__).parents[2] / "data" / "coco" / "val2017" / "000001.jpg"


def write(folder: Path, names: list[str]) -> Path:
    """The page of some models, as `bench report --html` writes it."""
    entries = [zoo.get(name) for name in names]  # demo_atss is shown because it was measured
    file = folder / "report.html"
    file.write_text(html.render(entries, RECORDS, {NAMES[0]: [IMAGE]}), encoding="utf-8")
    return file


def data_of(page: Path) -> dict[str, Any]:
    """What the page's script reads."""
    match = re.search(r'<script id="data" type="text/plain">(.*?)</script>', page.read_text(), re.S)
    assert match
    return json.loads(gzip.decompress(base64.b64decode(match[1])))


def names(browser) -> list[str]:
    """The models in the table."""
    script = "return [...document.querySelectorAll('#table tbody th')].map((cell) => cell.textContent)"
    return browser.execute_script(script)


def find(browser, selector: str):
    return browser.find_element("css selector", selector)


def select(browser, name: str, value: str) -> None:
    from selenium.webdriver.support.ui import Select

    Select(browser.find_element("id", name)).select_by_value(value)


def wait(browser, condition) -> None:
    from selenium.common.exceptions import WebDriverException
    from selenium.webdriver.support.ui import WebDriverWait

    # While a page changes, an element may be gone between being found and being asked.
    WebDriverWait(browser, 30, ignored_exceptions=[WebDriverException]).until(lambda _: condition())


def resize(browser, width: int, height: int = 844) -> None:
    """A window of this many CSS pixels."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


def screenshot(browser, name: str) -> None:
    """Keep a screenshot in the folder that SCREENSHOTS names, such as CI's artifacts."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        browser.save_screenshot(str(Path(folder) / f"{name}.png"))
