"""`zoo show` says what was measured here, beside what was published."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.results.record import Record
from benchmarks.results.store import Store
from zoo.cli import main

NAME = "faster_rcnn_r50_fpn_1x_coco"
PLACE = {"device": "AMD EPYC"}


@pytest.fixture
def store(tmp_path) -> Path:
    store = Store(tmp_path / "results.db")
    whole = {"dataset": "coco_2017", "images": 5000, "all_images": 5000}
    store.append(Record(NAME, "inference", "interleaved", {"batch": 1}, {"fps": 3.257}, environment=PLACE))
    store.append(Record(NAME, "inference", "interleaved", {"batch": 8}, {"fps": 99.0}, environment=PLACE))
    store.append(Record(NAME, "accuracy", "coco", whole, {"box_ap": 0.3741, "box_ap_50": 0.58}, environment=PLACE))
    store.append(Record(NAME, "accuracy", "coco", {**whole, "images": 50, "limit": 50}, {"box_ap": 0.9}))
    return store.path


def test_the_newest_plain_measurements_are_shown(store, capsys):
    assert main.main(["show", NAME, "--results", str(store)]) == 0
    text = capsys.readouterr().out
    assert "  measured here:\n    - fps 3.26" in text and "- box_ap 37.4, protocol coco, device AMD EPYC" in text
    assert "fps 99" not in text
    assert main.main(["show", NAME, "--results", str(store), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["measured"]
    assert [row.get("fps") or row.get("box_ap") for row in rows] == [3.26, 37.4]


def test_without_a_store_nothing_was_measured_and_none_is_made(tmp_path, capsys):
    assert main.main(["show", NAME, "--results", str(tmp_path / "none.db")]) == 0
    assert "  measured here: no\n" in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
