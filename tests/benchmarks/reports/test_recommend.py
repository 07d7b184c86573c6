"""Recommendations: within the limits, nothing that another model beats, each with its reason."""

from __future__ import annotations

import json

import pytest

from benchmarks.cli.commands.recommend import BYTES, SECONDS, quantity
from benchmarks.reports.recommend import Candidate, Constraints, groups, measured, published, recommend
from benchmarks.results.record import Record, failed
from benchmarks.results.store import Store
from benchmarks.system.environment import devices_here
from zoo.cli import main
from zoo.manifest import api


def candidate(name: str, ap: float, ms: float | None, mib: float | None = None) -> Candidate:
    return Candidate(name, ap, ms, mib, "measured", "CPU")


SOME = [candidate("slow", 42, 100), candidate("fast", 38, 20), candidate("beaten", 37, 30), candidate("middle", 40, 50)]


def test_a_model_that_another_one_beats_is_not_recommended():
    assert [c.model for c in recommend(SOME, Constraints())] == ["slow", "middle", "fast"]


def test_limits_hold():
    assert [c.model for c in recommend(SOME, Constraints(min_ap=39, latency_ms=60))] == ["middle"]


def test_an_unknown_number_is_not_within_a_limit():
    assert recommend([candidate("unknown", 50, None)], Constraints(latency_ms=60)) == []


def test_every_line_has_a_reason_with_numbers():
    assert recommend(SOME, Constraints())[1].reason == "2.0 points below slow, 2.00 times as fast"


def test_measured_accuracy_counts_more_than_published():
    name = "faster_rcnn_r50_fpn_1x_coco"
    speed = Record(name, "inference", metrics={"latency_ms_p50": 300.0}, environment={"device": "CPU A"})
    ap = Record(name, "accuracy", metrics={"box_ap": 0.25})
    entries = [api.get(name)]
    assert measured([speed], entries, "box_ap")[0].ap == 37.4
    assert measured([speed], entries, "box_ap")[0].remark == "accuracy as published"
    assert measured([speed, ap], entries, "box_ap")[0].ap == 25.0
    assert measured([speed], entries, "box_ap", ["GPU"]) == []


@pytest.mark.parametrize(
    "parameters", [{"limit": 100}, {"dataset": "demo"}, {"dataset": "coco_2017", "split": "train"}]
)
def test_an_accuracy_on_other_images_does_not_stand_for_the_published_one(parameters):
    speed = Record("faster_rcnn_r50_fpn_1x_coco", "inference", metrics={"latency_ms_p50": 300.0})
    ap = Record("faster_rcnn_r50_fpn_1x_coco", "accuracy", parameters=parameters, metrics={"box_ap": 0.9})
    assert measured([speed, ap], [api.get(speed.model)], "box_ap")[0].ap == 37.4


def test_the_same_model_is_measured_once_on_each_device_and_only_plainly():
    def speed(ms: float, device: str, **parameters) -> Record:
        metrics, where = {"latency_ms_p50": ms}, {"device": device}
        return Record("yolox_s_8x8_300e_coco", "inference", "", parameters, metrics, environment=where)

    fast = [speed(1.0, "A", batch=8), speed(2.0, "A", options={"amp": "fp16"}, precision="fp16")]
    records = [speed(30.0, "A"), speed(20.0, "A"), speed(10.0, "B"), *fast, speed(5.0, "B", weights="random")]
    result = groups([api.get("yolox_s")], records, "box_ap")
    assert [(c.hardware, c.latency_ms) for group in result for c in group if c.source == "measured"] == [
        ("A", 20.0),
        ("B", 10.0),
    ]


def test_random_weights_are_marked():
    speed = Record("yolox_s_8x8_300e_coco", "inference", parameters={"weights": "random"}, metrics={"fps": 10.0})
    (result,) = measured([speed], [api.get("yolox_s")], "box_ap")
    assert result.latency_ms == 100.0 and "random weights" in result.remark


def test_a_failed_run_recommends_nothing():
    assert measured([failed("yolox_s_8x8_300e_coco", "inference", "crash")], [api.get("yolox_s")], "box_ap") == []


def test_published_numbers_are_of_the_hardware_asked_for():
    entries = [api.get(n) for n in api.list_models("faster_rcnn*")]
    result = published(entries, "box_ap", "V100")
    assert result and {c.hardware for c in result} == {"V100"}


def test_the_command_prints_measured_models_first(tmp_path, capsys):
    store = tmp_path / "results.db"
    metrics = {"latency_ms_p50": 300.0, "resident_peak_mib": 900.0}
    Store(store).append(
        Record("retinanet_r50_fpn_1x_coco", "inference", metrics=metrics, environment={"device": "CPU A"})
    )
    assert main.main(["recommend", "--results", str(store), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows[0]["model"] == "retinanet_r50_fpn_1x_coco" and rows[0]["source"] == "measured"
    assert rows[-1]["source"] == "published"


def test_this_machine_is_a_device_too(tmp_path, capsys):
    store = tmp_path / "results.db"
    for device in ("Somebody else's", devices_here()[-1]):
        metrics, where = {"latency_ms_p50": 300.0}, {"device": device}
        Store(store).append(Record("retinanet_r50_fpn_1x_coco", "inference", metrics=metrics, environment=where))
    assert main.main(["recommend", "--results", str(store), "--on", "THIS_MACHINE", "--json"]) == 0
    assert [row["hardware"] for row in json.loads(capsys.readouterr().out)] == [devices_here()[-1]]


@pytest.mark.parametrize(
    ("text", "ms"), [("50ms", 50.0), ("0.05 s", 50.0), (".05s", 50.0), ("50000us", 50.0), ("50.MS", 50.0)]
)
def test_times_have_units(text, ms):
    assert quantity(text, SECONDS, "50ms") == pytest.approx(ms)


@pytest.mark.parametrize(("text", "mib"), [("2GiB", 2048.0), ("2 GB", 1907.349), ("512mib", 512.0), ("1024KiB", 1.0)])
def test_sizes_have_units(text, mib):
    assert quantity(text, BYTES, "2GiB") == pytest.approx(mib)


def test_limits_reach_the_answer(tmp_path, capsys):
    options = ["--task", "Instance-Segmentation", "--min-ap", "38", "--max-latency", "100ms", "--hardware", "V100"]
    assert main.main(["recommend", *options, "--results", str(tmp_path / "none.db"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert rows and all(row["ap"] >= 38 and row["latency_ms"] <= 100 and row["reason"] for row in rows)
    assert all(row["ap"] == api.get(row["model"]).metric("mask_ap") for row in rows)
    assert {row["source"] for row in rows} == {"published"}


def test_a_dataset_with_another_metric_is_asked_for_that(tmp_path, capsys):
    store = tmp_path / "results.db"
    Store(store).append(Record("ssd300_voc0712", "inference", metrics={"latency_ms_p50": 30.0}))
    assert main.main(["recommend", "--dataset", "voc_0712", "--results", str(store)]) == 0
    assert "map_50" in capsys.readouterr().out


def test_no_model_at_all_says_which_limit_is_hard(tmp_path, capsys):
    options = ["--min-ap", "30", "--max-memory", "2GiB", "--results", str(tmp_path / "none.db")]
    assert main.main(["recommend", *options]) == 0
    said = capsys.readouterr()
    assert said.out == "" and "0 reach 2048 MiB" in said.err and "the memory is not known" in said.err


MISUSE = [
    ["--task", "juggling"],
    ["--max-latency", "soon"],
    ["--max-latency", "1.2.3ms"],
    ["--max-memory", "2 bananas"],
]


@pytest.mark.parametrize("options", [*MISUSE, ["--max-latency", "50"], ["--dataset", "coco_2071"]])
def test_misuse_is_one_sentence(options, capsys):
    assert main.main(["recommend", *options]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_device_and_a_published_hardware_exclude_each_other(capsys):
    assert main.main(["recommend", "--on", "CPU", "--hardware", "V100"]) == 2
