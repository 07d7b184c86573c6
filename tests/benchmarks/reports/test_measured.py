from __future__ import annotations

import re
from types import SimpleNamespace

import pytest

from benchmarks.cli import main
from benchmarks.reports import markdown, measured
from benchmarks.reports.table import Link, Table
from benchmarks.results.record import Record, failed, skipped
from benchmarks.results.store import Store

ENTRY = SimpleNamespace(
    speed=(SimpleNamespace(fps=19.0, hardware="V100"),),
    dataset="coco_2017",
    origin="mmdetection",
    metrics={"coco_2017_val": {"box_ap": 36.5, "mask_ap": 30.0}},
)
MACHINE = {"device": "AMD EPYC", "host": {"cpu": "AMD EPYC", "usable_cores": 2}, "libraries": {"torch": "2.14.1"}}


def lookup(name: str):
    return ENTRY if name == "known" else None


def inference(model: str = "known", **values) -> Record:
    given = {
        "protocol": "interleaved",
        "parameters": {"precision": "fp32", "batch": 1, "weights": "random", "resolution": {"800x1216": 8}},
        "metrics": {"fps": 2.5, "latency_ms_p50": 400.0, "resident_peak_mib": 900.0, "parameters": 37_740_000},
        "environment": MACHINE,
    }
    return Record(**{"model": model, "kind": "inference"} | given | values)


def row_of(table: Table, column: str) -> list[str]:
    return [table.text(row, column) for row in table.rows]


def test_published_speed_stands_beside_measured_with_its_hardware():
    table = measured.speed([inference(), inference("own")], lookup)
    assert row_of(table, "fps") == ["2.50", "2.50"]
    assert row_of(table, "published fps") == ["19.0", ""]
    assert row_of(table, "published on") == ["V100", ""]
    assert row_of(table, "params M")[0] == "37.74"


def test_a_run_that_departs_from_its_protocol_is_marked():
    record = inference(parameters={"departs_in": ["min_seconds"], "options": {"amp": "bf16", "channels_last": True}})
    table = measured.speed([record, inference()], lookup)
    assert row_of(table, "protocol") == ["interleaved*", "interleaved"]
    assert measured.precision({"precision": "bf16", "options": {"amp": "bf16", "compile": True}}) == "bf16 + compile"


def test_a_failure_is_in_its_own_table_with_its_reason_and_nowhere_as_a_number():
    tables = measured.tables([inference(), failed("known", "inference", "out of memory", environment=MACHINE)], lookup)
    by_title = {table.title: table for table in tables}
    assert len(by_title["Inference"].rows) == 1
    assert row_of(by_title["Failed or skipped"], "reason") == ["out of memory"]


def test_accuracy_is_in_percent_points_against_the_published_number():
    record = Record(
        model="known",
        kind="accuracy",
        parameters={"dataset": "coco_2017", "split": "val", "images": 38},
        metrics={"box_ap": 0.37, "box_ap50": 0.5},
        environment=MACHINE,
    )
    table = measured.accuracy([record], lookup)
    assert row_of(table, "metric") == ["box_ap"]
    assert row_of(table, "measured") == ["37.0"] and row_of(table, "published") == ["36.5"]
    assert table.rows[0]["difference"] == pytest.approx(0.5)
    assert "maxDets=(100, 300, 1000)" in row_of(table, "definition")[0]
    assert row_of(measured.accuracy([record], lambda _: None), "metric") == ["box_ap", "box_ap50"]


def test_accuracy_on_other_data_stands_beside_nothing_published_and_minus_one_is_no_number():
    record = Record(
        model="known",
        kind="accuracy",
        parameters={"dataset": "demo", "split": "val"},
        metrics={"box_ap": 0.37, "box_ap_large": -1.0},
    )
    table = measured.accuracy([record], lookup)
    assert row_of(table, "metric") == ["box_ap"] and row_of(table, "published") == [""]


def test_machines_are_numbered_and_listed_once():
    other = {**MACHINE, "device": "NVIDIA H100"}
    records = [inference(), inference(environment=other), inference()]
    assert row_of(measured.speed(records, lookup), "machine") == ["1", "2", "1"]
    assert row_of(measured.machines(records), "device") == ["AMD EPYC", "NVIDIA H100"]


def test_options_show_speed_and_detections_side_by_side():
    effect = {
        "speedup": 1.25,
        "speedup_low": 1.2,
        "speedup_high": 1.3,
        "detections": 100,
        "matched": 0.98,
        "score_difference": 0.0123,
        "added": 2,
    }
    table = measured.options([inference(metrics={"fps": 1.0, "effects": {"amp": effect}})])
    text = markdown.section(table)
    assert "| known | amp | 1.25 | 1.20 to 1.30 | 100 | 98.0% | 0.01230 | 2 |" in text


def test_markdown_escapes_links_and_leaves_empty_columns_out():
    table = Table("T", ("a", "b", "c"), [{"a": "x|y\nz", "b": Link("log", "https://x/y"), "c": None}], "A note.")
    assert markdown.section(table) == "## T\n\nA note.\n\n| a | b |\n| --- | --- |\n| x\\|y z | [log](https://x/y) |\n"


def test_a_document_too_large_for_github_says_what_was_left_out():
    small = Table("Small", ("a",), [{"a": 1}])
    large = Table("Large", ("a",), [{"a": "x" * 100}] * 100)
    text = markdown.render([small, large, small], limit=2000)
    assert len(text.encode()) <= 2000 and text.count("## Small") == 2 and "## Large" not in text
    assert "Left out" in text and "Large (100 rows)" in text


def test_the_note_on_what_was_left_out_fits_too_however_many_tables_there_are():
    tables = [Table(f"Family number {i}", ("a",), [{"a": "x" * 50}]) for i in range(200)]
    text = markdown.render(tables, limit=3000)
    kept = text.count("## Family")
    assert len(text.encode()) <= 3000 and kept > 20
    said = re.search(r"Left out.*: (.*) and (\d+) more tables\.", text)
    assert said and len(said[1].split("), ")) + int(said[2]) + kept == 200


def test_the_command_writes_the_same_text_twice(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measured.tables, "__defaults__", (lookup,))
    store = Store(tmp_path / "results.db")
    store.extend([inference(time="2026-01-01"), inference("own", time="2026-01-02")])
    arguments = ["report", "--markdown", "--results", str(store.path)]
    assert main.main(arguments) == 0
    first = capsys.readouterr().out
    assert main.main([*arguments, "--out", str(tmp_path / "report.md")]) == 0
    assert (tmp_path / "report.md").read_text() == first and "| known |" in first


def test_no_records_is_one_sentence(tmp_path, capsys):
    assert main.main(["report", "--results", str(tmp_path / "none.db")]) == 2
    assert "has no records to report" in capsys.readouterr().err


def test_peers_stand_below_ours_and_an_unavailable_one_shows_what_it_published():
    numbers = {"fps": 2.0, "latency_ms_p50": 500.0, "speedup": 0.8, "speedup_low": 0.7, "speedup_high": 0.9}
    numbers |= {"matched": 1.0, "detections": 100, "score_difference": 0.001}
    ours = Record(model="known", kind="compare", parameters={"peer": None, "options": {"amp": "bf16"}}, metrics=numbers)
    peer = Record(
        model="known", kind="compare", parameters={"peer": "torchvision", "commit": "a" * 40}, metrics=numbers
    )
    published = {"fps": 26.3, "hardware": "V100", "source": "its zoo"}
    absent = skipped("known", "compare", "not there", parameters={"peer": "detectron2", "published": published})
    tables = {table.title: table for table in measured.tables([ours, peer, absent], lookup)}
    (table,) = tables.values()
    assert row_of(table, "implementation") == ["ours + amp", "torchvision", "detectron2"]
    assert row_of(table, "against ours") == ["0.80", "0.80", ""]
    assert row_of(table, "published fps") == ["", "", "26.3"] and row_of(table, "published on")[2] == "V100"
    assert row_of(table, "commit")[1] == "a" * 12
