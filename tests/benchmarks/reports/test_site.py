"""A leaderboard for a static host: complete, without scripts where pages are, and rewritten without leftovers."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

import zoo
from benchmarks.cli import main
from benchmarks.reports import site
from benchmarks.results.record import Record
from benchmarks.results.store import Store
from tests.benchmarks.reports.pages import IMAGE, NAMES, RECORDS, find, names, screenshot, wait
from tests.benchmarks.reports.test_html_promises import violations

pytest.importorskip("plotly", reason="the HTML report needs plotly")

OTHER = "detectron2/faster_rcnn_R_50_FPN_1x"
HOSTILE = '../../<script>alert("x")</script>'


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A site of a few models, one of which has a slash in its name, and one a name that nobody should have."""
    target = tmp_path_factory.mktemp("site") / "leader board"
    entries = [zoo.get(name) for name in [*NAMES, OTHER]]
    site.write(entries, [*RECORDS, Record(HOSTILE, "inference", "interleaved")], {NAMES[0]: [IMAGE]}, target)
    return target


class Links(HTMLParser):
    """Addresses in a page."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(re.sub(r"</?noscript>", "", page.read_text()))

    def handle_starttag(self, tag, attrs):
        self.found += [value for key, value in attrs if key in ("src", "href", "data-src") and value]


def test_every_model_has_a_page_and_json(folder):
    everything = json.loads((folder / "data.json").read_text())
    assert {model["name"] for model in everything["models"]} == {*NAMES, OTHER, HOSTILE, "my_own_model", "demo_atss"}
    for model in everything["models"]:
        page = folder / unquote(model["page"])
        assert page.resolve().is_relative_to(folder.resolve())
        assert json.loads(page.with_suffix(".json").read_text())["name"] == model["name"]
    text = (folder / "models" / f"{NAMES[0]}.html").read_text()
    assert "37.4" in text and "37.2" in text and "3.25" in text and "047c8118" in text and "Normalize" in text


def test_every_link_inside_the_site_leads_to_a_file(folder):
    pages = list(folder.rglob("*.html"))
    assert len(pages) == len(NAMES) + 5
    for page in pages:
        for link in Links(page).found:
            if not link.startswith(("https://", "http://", "data:", "#")):
                assert (page.parent / unquote(link.partition("#")[0])).resolve().is_file(), (page, link)


def test_no_page_has_markup_of_a_name_or_a_record(folder):
    for page in folder.rglob("*.html"):
        assert "<script>alert" not in page.read_text() and "out of memory <!--" not in page.read_text()


def test_images_are_files_that_load_when_they_are_looked_at(folder):
    text = (folder / "models" / f"{NAMES[0]}.html").read_text()
    assert f'src="../images/{NAMES[0]}/{IMAGE.name}"' in text and 'loading="lazy"' in text
    assert (folder / "images" / NAMES[0] / IMAGE.name).read_bytes() == IMAGE.read_bytes()


def test_a_second_run_removes_what_is_gone_and_nothing_else(tmp_path, capsys):
    store, drawn = Store(tmp_path / "results.db"), tmp_path / "drawn" / NAMES[2]
    drawn.mkdir(parents=True)
    shutil.copy(IMAGE, drawn / "street.jpg")
    target = tmp_path / "site"
    options = ["report", "--site", str(target), "--results", str(store.path)]
    assert main.main([*options, "--model", "yolox*", "--images", str(drawn.parent)]) == 0
    assert (target / "images" / NAMES[2] / "street.jpg").is_file()
    (target / "CNAME").write_text("example.org")
    assert main.main([*options, "--model", "vfnet_r50_fpn_1x_coco"]) == 0
    assert [path.name for path in (target / "models").rglob("*.html")] == ["vfnet_r50_fpn_1x_coco.html"]
    assert not list((target / "images").rglob("*")) and (target / "CNAME").exists()
    assert "index.html" in capsys.readouterr().err


def test_folders_with_other_files_are_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("")
    (tmp_path / "models").mkdir()
    assert main.main(["report", "--site", str(tmp_path), "--results", "none.db"]) == 2
    assert "has other files" in capsys.readouterr().err
    assert main.main(["report", "--site", str(tmp_path / "x"), "--out", "y", "--results", "none.db"]) == 2
    assert "leave out --out" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["models", "thesis.tex"]


def test_names_that_files_cannot_tell_apart_get_numbers():
    paths = site.unique_paths(["a/b", "A/b", "a//b", "..", "/etc/passwd", "a:b?"])
    assert list(paths.values()) == ["a/b", "A/b-2", "a/b-3", "model", "etc/passwd", "a_b_"]


def test_the_index_works_in_a_browser_and_a_model_has_a_page_of_its_own(browser, folder):
    browser.get("about:blank")
    browser.get((folder / "index.html").as_uri())
    wait(browser, lambda: names(browser))
    wait(browser, lambda: browser.find_elements("css selector", "#plot .scatterlayer .point"))
    screenshot(browser, "site_1400")
    browser.find_element("link text", NAMES[0]).click()
    wait(browser, lambda: browser.execute_script("return document.querySelector('#detail img')?.naturalWidth ?? 0") > 0)
    browser.find_element("link text", "Page of its own").click()
    wait(browser, lambda: "style" not in browser.title and find(browser, "h1").text == NAMES[0])
    assert violations(browser) == []
    screenshot(browser, "site_model_1400")
    browser.find_element("link text", "All models").click()
    wait(browser, lambda: names(browser))
