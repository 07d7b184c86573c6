"""Recommendations: within the limits, nothing that another model beats, each with its reason."""

from __future__ import annotations

import json

import pytest

from benchmarks.recommend import Candidate, Wish, measured, published, recommend
from benchmarks.record import Record, failed
from benchmarks.results import Store
from zoo import cli, manifest


def candidate(name: str, ap: float, ms: float | None, mib: float | None = None) -> Candidate:
    return Candidate(name, ap, ms, mib, "measured", "CPU")


SOME = [candidate("slow", 42, 100), candidate("fast", 38, 20), candidate("beaten", 37, 30), candidate("middle", 40, 50)]


def test_a_model_that_another_one_beats_is_not_recommended():
    assert [c.model for c in recommend(SOME, Wish())] == ["slow", "middle", "fast"]


def test_limits_hold():
    assert [c.model for c in recommend(SOME, Wish(min_ap=39, latency_ms=60))] == ["middle"]


def test_an_unknown_number_is_not_within_a_limit():
    assert recommend([candidate("unknown", 50, None)], Wish(latency_ms=60)) == []


def test_every_line_has_a_reason_with_numbers():
    assert recommend(SOME, Wish())[1].reason == "2.0 points below slow, 2.00 times as fast"


def test_measured_accuracy_counts_more_than_published():
    name = "faster_rcnn_r50_fpn_1x_coco"
    speed = Record(name, "inference", metrics={"latency_ms_p50": 300.0}, environment={"device": "CPU A"})
    ap = Record(name, "accuracy", metrics={"box_ap": 0.25})
    entries = {name: manifest.get(name)}
    assert measured([speed], entries, "box_ap")[0].ap == 37.4
    assert measured([speed, ap], entries, "box_ap")[0].ap == 25.0
    assert measured([speed], entries, "box_ap", "GPU") == []


def test_a_failed_run_recommends_nothing():
    assert measured([failed("x", "inference", "crash")], {}, "box_ap") == []


def test_published_numbers_are_of_the_hardware_asked_for():
    entries = {n: manifest.get(n) for n in manifest.list_models("faster_rcnn*")}
    found = published(entries, "box_ap", "V100")
    assert found and {c.hardware for c in found} == {"V100"}


def test_the_command_prints_measured_models_first(tmp_path, capsys):
    store = tmp_path / "results.db"
    metrics = {"latency_ms_p50": 300.0, "resident_peak_mib": 900.0}
    Store(store).append(
        Record("retinanet_r50_fpn_1x_coco", "inference", metrics=metrics, environment={"device": "CPU A"})
    )
    assert cli.main(["recommend", "--results", str(store), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["model"] == "retinanet_r50_fpn_1x_coco" and rows[0]["source"] == "measured"
    assert rows[-1]["source"] == "published"


@pytest.mark.parametrize("options", [["--task", "juggling"], ["--max-latency", "soon"], ["--max-memory", "2 bananas"]])
def test_misuse_is_one_sentence(options, capsys):
    assert cli.main(["recommend", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1
