"""The tables of the zoo, and the reports that are committed."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

import zoo
from benchmarks.cli import main
from benchmarks.reports import flat, markdown, published
from benchmarks.results.record import Record
from benchmarks.results.store import Store

REPORTS = Path(__file__).parents[3] / "reports"


def entries(pattern: str = "*") -> list[zoo.Entry]:
    return [zoo.get(name) for name in zoo.list_models(pattern)]


def test_every_published_model_has_its_line():
    tables = published.tables(entries("retinanet*"), [])
    listed = [row["model"] for table in tables for row in table.rows]
    assert sorted(listed) == zoo.list_models("retinanet*")


def test_measured_numbers_stand_beside_published_ones():
    record = Record("retinanet_r50_fpn_1x_coco", "accuracy", metrics={"box_ap": 0.364})
    table = published.tables(entries("retinanet_r50_fpn_1x_coco"), [record])[0]
    assert table.rows[0]["box AP"] == 36.5
    assert table.rows[0]["measured box AP"] == pytest.approx(36.4)


def test_csv_has_one_line_per_record_and_no_zero_for_a_crash():
    records = [Record("a", "inference", metrics={"fps": 2.0}), zoo_failed()]
    rows = list(csv.DictReader(io.StringIO(flat.records_csv(records))))
    assert [row["metrics.fps"] for row in rows] == ["2.0", ""]


def zoo_failed() -> Record:
    return Record("b", "inference", status="failed", reason="crash")


def test_json_carries_links_as_addresses():
    tables = json.loads(flat.tables_json(published.tables(entries("yolox_s*"), [])))
    assert tables[0]["rows"][0]["weights"].startswith("https://")


@pytest.mark.parametrize(
    ("file", "options"),
    [("zoo.md", ["--zoo"]), ("zoo.csv", ["--zoo", "--csv"])],
)
def test_the_committed_reports_are_what_the_command_writes(file, options, tmp_path, capsys):
    assert main.main(["report", *options, "--results", str(tmp_path / "none.db")]) == 0
    assert capsys.readouterr().out == (REPORTS / file).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("demo.md", ["--markdown"]),
        ("demo.csv", ["--csv"]),
        ("peers.md", ["--markdown"]),
        ("comparison.md", ["--comparison"]),
    ],
)
def test_reports_of_measurements_are_what_the_command_writes_from_their_records(file, options, tmp_path, capsys):
    store = Store(tmp_path / "results.db")
    assert store.merge((REPORTS / file).with_suffix(".jsonl")) > 0
    assert main.main(["report", *options, "--results", str(store.path)]) == 0
    assert capsys.readouterr().out == (REPORTS / file).read_text(encoding="utf-8")


def test_the_markdown_fits_on_github():
    assert (REPORTS / "zoo.md").stat().st_size < markdown.SUMMARY_BYTES
    assert "Left out" not in (REPORTS / "zoo.md").read_text()
