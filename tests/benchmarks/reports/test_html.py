"""The page: self-contained, complete, and usable in a real browser."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest

import zoo
from benchmarks.cli import main
from benchmarks.reports import html_data as content
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from tests.benchmarks.reports.pages import IMAGE, NAMES, RECORDS, data_of, find, names, resize, select, wait, write
from zoo.cli import main as zoo_cli

pytest.importorskip("plotly", reason="the HTML report needs plotly")


def test_every_model_and_every_record_is_in_the_page(page):
    models = {m["name"]: m for m in data_of(page)["models"]}
    assert set(models) == {*NAMES, "my_own_model", "demo_atss"}
    assert models[NAMES[0]]["box_ap"] == 37.4 and models["demo_atss"]["family"] == "demo"
    assert [record["kind"] for record in models[NAMES[0]]["records"]].count("inference") == 2
    assert models[NAMES[1]]["records"][0]["status"] == "failed"
    assert models[NAMES[1]]["measured_fps"] is None


def test_only_plain_measurements_stand_beside_published_numbers(page):
    model = data_of(page)["models"][0]
    assert model["measured_fps"] == 3.25 and model["measured_on"] == "AMD EPYC"
    assert model["measured_box_ap"] == pytest.approx(37.2)


def test_curves_know_where_their_points_are(page):
    (log,) = [r for r in data_of(page)["models"][0]["records"] if r["kind"] == "log"]
    assert [curve["name"] for curve in log["curves"]] == ["loss", "box_ap"]
    assert log["curves"][0] == {"name": "loss", "across": "epoch", "x": [0.5, 1.0, 1.5], "y": [3.0, 2.0, 1.5]}


def test_long_curves_are_thinned_out_over_their_whole_length():
    long = Record("m", "training", samples={"loss": [float(i) for i in range(4321)]})
    (curve,) = content.curves(long)
    assert len(curve["y"]) <= content.CURVE_POINTS and curve["y"][-1] > 4300 and curve["x"][1] - curve["x"][0] == 9


def test_text_cannot_end_the_script_that_carries_it(page):
    assert "out of memory <" not in page.read_text()
    assert data_of(page)["models"][1]["records"][0]["reason"] == RECORDS[4].reason


def test_the_page_loads_nothing(page):
    shell = re.sub(r"<script.*?</script>|<style>.*?</style>", "", page.read_text(), flags=re.S)
    assert not re.search(r'(src|href)="https?:', shell)
    assert "@import" not in page.read_text().split("</style>")[0]


def test_the_front_is_that_of_zoo_recommend(tmp_path, capsys):
    store = Store(tmp_path / "results.db")
    store.extend(RECORDS)
    entries = [zoo.get(name) for name in zoo.list_models(dataset="coco_2017")]
    fronts = {(f["task"], f["dataset"]): f["models"] for f in content.fronts(entries, store.select())}
    for task in ("object detection", "instance segmentation", "panoptic segmentation"):
        assert zoo_cli.main(["recommend", "--task", task, "--results", str(store.path), "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)
        assert rows == fronts.get((task, "coco_2017"), [])
        assert rows or task == "panoptic segmentation"  # of which no speed was published


def test_the_command_writes_it_with_images_and_curves(tmp_path):
    out, store, drawn = tmp_path / "report.html", Store(tmp_path / "results.db"), tmp_path / "drawn" / NAMES[2]
    store.append(replace(RECORDS[3], model=NAMES[2]))
    drawn.mkdir(parents=True)
    shutil.copy(IMAGE, drawn / "street.jpg")
    options = ["--results", str(store.path), "--model", "yolox*", "--images", str(drawn.parent), "--out", str(out)]
    assert main.main(["report", "--html", *options]) == 0
    models = {m["name"]: m for m in data_of(out)["models"]}
    assert list(models) == zoo.list_models("yolox*")
    assert models[NAMES[2]]["images"][0]["name"] == "street"
    assert models[NAMES[2]]["images"][0]["src"].startswith("data:image/jpeg;base64,")
    assert len(models[NAMES[2]]["records"][0]["curves"]) == 2


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--html", "--images", "nowhere"], "is not a folder"),
        (["--html", "--images", "."], "has no subfolder with images"),
        (["--markdown", "--images", "."], "--images go into --html"),
    ],
)
def test_images_that_are_not_there_are_one_sentence(options, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main.main(["report", *options, "--results", "none.db"]) == 2
    assert said in capsys.readouterr().err


def focused(browser) -> str:
    return browser.execute_script("const a = document.activeElement; return a.id || a.textContent")


def test_it_sorts(opened):
    assert sorted(names(opened)) == sorted(NAMES)  # the dataset is COCO at first
    assert names(opened)[0] == "vfnet_r50_fpn_1x_coco"  # the best box AP first
    opened.find_element("xpath", "//th/button[starts-with(., 'Model')]").click()
    assert names(opened) == sorted(NAMES)
    opened.find_element("xpath", "//th/button[. = 'fps here']").click()
    assert names(opened)[0] == NAMES[0]  # what is not known comes last
    head = opened.find_element("xpath", "//th[button[. = 'fps here']]")
    assert head.get_attribute("aria-sort") == "descending"


def test_it_filters_and_resets(opened):
    find(opened, "#search").send_keys("yolox")
    assert names(opened) == ["yolox_s_8x8_300e_coco"]
    assert find(opened, "#count").text.startswith("1 of ")
    find(opened, "#filters button[type=reset]").click()
    wait(opened, lambda: len(names(opened)) == 4)
    find(opened, "#measured-only").click()
    assert sorted(names(opened)) == sorted(NAMES[:2])
    select(opened, "dataset", "demo")
    wait(opened, lambda: names(opened) == ["demo_atss"])


def test_columns_without_anything_are_not_shown(opened):
    assert opened.find_element("xpath", "//th[button[. = 'fps here']]").is_displayed()
    find(opened, "#search").send_keys("yolox")
    assert not opened.find_element("xpath", "//th[button[. = 'fps here']]").is_displayed()


def test_a_model_has_a_page_with_everything_about_it(opened):
    opened.find_element("link text", NAMES[0]).click()
    wait(opened, lambda: opened.find_elements("css selector", "#detail .curve svg"))
    text = find(opened, "#detail").text
    facts = ("Normalize: normalization mean 123.675", "047c8118", "37.2", "-0.2", "mmassets.onedl.ai", "Apache-2.0")
    assert [fact for fact in facts if fact not in text] == []
    assert len(opened.find_elements("css selector", "#detail .curve svg.main-svg")) >= 2
    assert opened.execute_script("return document.querySelector('#detail img').naturalWidth") > 0
    links = opened.find_elements("css selector", "#detail dd a")
    assert all(one.get_attribute("href").startswith("https://") for one in links) and len(links) > 3
    opened.find_element("link text", "All models").click()
    wait(opened, lambda: find(opened, "#overview").is_displayed())
    assert focused(opened) == NAMES[0]


def test_a_failure_shows_its_reason(opened):
    opened.find_element("link text", NAMES[1]).click()
    wait(opened, lambda: "out of memory <!--" in find(opened, "#detail .failed + .failed").text)


def test_the_keyboard_reaches_everything(opened):
    from selenium.webdriver import ActionChains, Keys

    def press(*keys: str) -> None:
        ActionChains(opened).send_keys(*keys).perform()

    press("/")
    assert focused(opened) == "search"
    reached = set()
    for _ in range(60):
        press(Keys.TAB)
        reached.add(focused(opened))
    selects = {"family", "task", "dataset", "measured-only", "numbers", "x-axis", "y-axis", "front-only"}
    assert selects <= reached and set(NAMES) <= reached
    assert any(text.startswith("box AP") for text in reached)  # the buttons that sort
    opened.execute_script("document.querySelector('#table tbody a').focus()")
    press(Keys.ENTER)
    wait(opened, lambda: find(opened, "#detail").is_displayed())
    press(Keys.ESCAPE)
    wait(opened, lambda: find(opened, "#overview").is_displayed())


def test_a_point_of_the_plot_says_which_model_it_is_and_leads_to_it(opened):
    from selenium.webdriver import ActionChains

    points = "#plot .scatterlayer .point"
    wait(opened, lambda: opened.find_elements("css selector", points))
    point = opened.find_elements("css selector", points)[-1]
    ActionChains(opened).move_to_element(point).perform()
    wait(opened, lambda: any(t.text for t in opened.find_elements("css selector", "#plot .hoverlayer text")))
    ActionChains(opened).click(point).perform()
    wait(opened, lambda: find(opened, "#detail").is_displayed())


def test_the_plot_highlights_the_front(opened):
    front = {c["model"] for f in content.fronts([zoo.get(n) for n in NAMES], []) for c in f["models"]}
    script = "return document.getElementById('plot').data?.at(-1)?.customdata"
    wait(opened, lambda: opened.execute_script(script))
    assert set(opened.execute_script(script)) == front
    find(opened, "#front summary").click()
    assert {row.text for row in opened.find_elements("css selector", "#front-table tbody th")} >= front


@pytest.mark.parametrize("axis", ["ms", "memory_gb", "millions"])
def test_accuracy_is_drawn_against_speed_memory_and_size(opened, axis):
    select(opened, "x-axis", axis)
    wait(opened, lambda: len(opened.find_elements("css selector", "#plot .scatterlayer .point")) >= 3)
    title = opened.execute_script("return document.getElementById('plot').layout.xaxis.title.text")
    assert title == find(opened, "#x-axis option:checked").text


def test_measured_numbers_have_a_plot_of_their_own(opened):
    select(opened, "numbers", "measured")
    name = "return document.getElementById('plot').data?.at(0)?.name"
    wait(opened, lambda: opened.execute_script(name) == "AMD EPYC")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground_in_both_themes(opened, scheme):
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    opened.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    script = """
      const color = (name) => {
        document.body.style.setProperty("caret-color", `var(${name})`);
        return getComputedStyle(document.body).caretColor;
      };
      const part = (css) => css.match(/[\\d.]+/g).slice(0, 3).map((v) => v / 255)
        .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
      const light = (css) => { const [r, g, b] = part(css); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
      return ["--text", "--muted", "--accent", "--best", "--bad"].flatMap((fore) => ["--ground", "--panel", "--raised"]
        .map((ground) => [light(color(fore)), light(color(ground))].sort((a, b) => b - a))
        .map(([high, low]) => (high + 0.05) / (low + 0.05)));
    """
    assert min(opened.execute_script(script)) >= 4.5  # WCAG AA


def test_a_narrow_window_does_not_scroll_sideways(opened):
    resize(opened, 400)
    try:
        wait(opened, lambda: opened.execute_script("return document.documentElement.scrollWidth") <= 400)
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_the_browser_has_nothing_to_complain_about_and_asks_for_nothing(browser, page):
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(page.as_uri())
    wait(browser, lambda: browser.find_elements("css selector", "#plot .scatterlayer .point"))
    browser.get(f"{page.as_uri()}#{NAMES[0]}")
    wait(browser, lambda: browser.find_elements("css selector", "#detail .curve svg"))
    assert [line for line in browser.get_log("browser") if line["level"] == "SEVERE"] == []
    messages = [json.loads(line["message"])["message"] for line in browser.get_log("performance")]
    asked = [m["params"]["request"]["url"] for m in messages if m["method"] == "Network.requestWillBeSent"]
    assert asked and [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def test_the_whole_zoo_answers_a_filter_without_making_its_rows_anew(browser, tmp_path):
    browser.get(write(tmp_path, zoo.list_models()).as_uri())
    rows = "return document.querySelectorAll('#table tbody tr').length"
    wait(browser, lambda: browser.execute_script(rows) > 400)
    select(browser, "dataset", "")
    wait(browser, lambda: browser.execute_script(rows) > 560)
    browser.execute_script("window.kept = document.querySelector('#table tbody tr')")
    name = browser.execute_script("return window.kept.firstChild.textContent")
    find(browser, "#search").send_keys(name)
    wait(browser, lambda: browser.execute_script(rows) < 10)
    assert browser.execute_script("return window.kept === document.querySelector('#table tbody tr')")
