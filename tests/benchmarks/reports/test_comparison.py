from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cli import main
from benchmarks.reports import comparison
from benchmarks.results.record import Record, failed

FASTER = "faster_rcnn_r50_caffe_fpn_1x_coco"


@pytest.fixture(scope="module")
def facts():
    return comparison.read_facts()


def cells(facts, records, title: str, column: str) -> dict[str, str]:
    """First column -> cell of one column."""
    table = next(t for t in comparison.tables(facts, records) if t.title == title)
    return {table.text(row, table.columns[0]): table.text(row, column) for row in table.rows}


def record(kind: str, metrics: dict, **parameters) -> Record:
    return Record(
        model=FASTER,
        kind=kind,
        protocol="mmdet-v2",
        parameters=parameters,
        metrics=metrics,
        environment={"device": "V100"},
    )


def test_all_tables_of_the_page_are_there_with_their_published_numbers(facts):
    assert cells(facts, [], "Training speed of seven frameworks", "published")["simpledet"] == "39"
    assert len(cells(facts, [], "Training speed of seven frameworks", "published")) == 7
    assert cells(facts, [], "Training speed", "MMDetection") == {
        "Faster R-CNN": "0.216",
        "Mask R-CNN": "0.265",
        "Retinanet": "0.205",
    }
    assert cells(facts, [], "Inference speed", "Detectron2's zoo")["Retinanet"] == "18.2"
    assert cells(facts, [], "Training memory", "Detectron2")["Retinanet"] == "3.9"
    accuracy = next(t for t in comparison.tables(facts, []) if t.title == "Accuracy")
    assert [(row["Detectron2"], row["MMDetection"]) for row in accuracy.rows] == [
        (37.9, 38.0),
        (38.6, 38.8),
        (35.2, 35.4),
        (36.5, 37.0),
    ]


def test_without_records_the_measured_columns_are_there_and_empty(facts):
    for table in comparison.tables(facts, [])[1:-1]:
        assert set(comparison.MEASURED) <= set(table.shown())
        assert all(row.get("measured") is None and row.get("ratio") is None for row in table.rows)


def test_accuracy_that_was_not_measured_says_if_there_are_no_weights(facts, monkeypatch):
    monkeypatch.setattr(comparison, "cached_path", lambda entry: Path("file") if "mask" in entry.name else None)
    have = cells(facts, [], "Accuracy", "measured with")
    assert have == {"Faster R-CNN": "no weights here", "Mask R-CNN": "", "Retinanet": "no weights here"}


def test_a_measurement_stands_beside_with_its_ratio(facts):
    records = [
        record("inference", {"fps": 33.3}, weights="published"),
        record("training", {"iteration_s": 0.108}),
    ]
    assert cells(facts, records, "Inference speed", "measured")["Faster R-CNN"] == "33.30"
    assert cells(facts, records, "Inference speed", "ratio")["Faster R-CNN"] == "1.50"
    assert cells(facts, records, "Inference speed", "measured with")["Faster R-CNN"] == "V100, mmdet-v2, published"
    assert cells(facts, records, "Training speed", "ratio")["Faster R-CNN"] == "0.50"
    assert cells(facts, records, "Inference speed", "measured")["Retinanet"] == ""


def test_only_an_accuracy_on_all_of_coco_stands_beside_the_published_one(facts):
    models = [pair["models"][0] for pair in facts["comparison_with_detectron2"]]
    part = replace(record("accuracy", {"box_ap": 0.5}, dataset="coco_2017", split="val", limit=10), model=models[0])
    whole = replace(part, parameters={"dataset": "coco_2017", "split": "val", "limit": None}, metrics={"box_ap": 0.38})
    table = next(t for t in comparison.tables(facts, [whole, part]) if t.title == "Accuracy")
    assert [row["measured"] for row in table.rows][:2] == [38.0, None]


def test_only_plain_float32_runs_of_ours_count_as_ours(facts):
    records = [
        record("inference", {"fps": 99.0}, options={"amp": "bf16"}, precision="bf16"),
        record("inference", {"fps": 98.0}, peer="detectron2"),
        failed(FASTER, "inference", "out of memory"),
    ]
    assert cells(facts, records, "Inference speed", "measured")["Faster R-CNN"] == ""
    peer = record("compare", {"fps": 20.0}, peer="detectron2")
    assert cells(facts, [*records, peer], "Inference speed", "Detectron2 measured")["Faster R-CNN"] == "20.00"


def test_what_detectron2_took_in_the_same_run_stands_beside_ours(facts):
    name = "detectron2/faster_rcnn_R_50_FPN_1x"
    ours = replace(record("compare", {"fps": 0.5}), model=name, environment={"device": "EPYC", "device_type": "cpu"})
    ratio = {"speedup": 0.8, "speedup_low": 0.5, "speedup_high": 1.0}
    theirs = replace(
        record("compare", {"fps": 0.4, **ratio}, peer="detectron2"), model=name, environment=ours.environment
    )
    columns = {column: cells(facts, [ours, theirs], "Inference speed", column)["Faster R-CNN"] for column in
               ("measured", "ratio", "Detectron2 measured", "ours against Detectron2")}  # fmt: skip
    assert list(columns.values()) == ["0.50", "", "0.40", "1.25 (1.00 to 2.00)"]  # no ratio of a CPU and a V100
    seconds = {"iteration_s": 9.0, "iteration_s_low": 8.0, "iteration_s_high": 9.5, "images_per_second": 0.2}
    training = replace(theirs, kind="compare training", metrics={**seconds, **ratio})
    assert cells(facts, [training], "Training speed", "Detectron2 measured")["Faster R-CNN"] == "9.000"


def test_a_cpu_and_a_gpu_have_rows_of_their_own(facts):
    name, speeds = "detectron2/faster_rcnn_R_50_FPN_1x", {"EPYC": ("cpu", 0.5), "H200": ("cuda", 47.0)}
    records = [
        replace(record("compare", {"fps": fps}), model=name, environment={"device": device, "device_type": kind})
        for device, (kind, fps) in speeds.items()
    ]
    table = comparison.inference_speed(facts["comparison_with_detectron2"], records)
    measured = [row["measured"] for row in table.rows if row["type"] == "Faster R-CNN"]
    assert measured == [47.0, 0.5] and len(table.rows) == 4  # others have one row each, empty


def test_mmdetection_and_torchvision_have_columns_too(facts):
    ratio = {"fps": 0.4, "speedup": 0.5, "speedup_low": 0.4, "speedup_high": 0.8}
    peers = {"mmdet": "retinanet_r50_fpn_1x_coco", "torchvision": "torchvision/retinanet_resnet50_fpn"}
    records = [replace(record("compare", ratio, peer=peer), model=name) for peer, name in peers.items()]
    for label in ("MMDetection", "torchvision"):
        assert cells(facts, records, "Inference speed", f"ours against {label}")["Retinanet"] == "2.00 (1.25 to 2.50)"


def test_memory_is_in_the_pages_unit(facts):
    records = [record("training", {"cuda_allocated_mib": 3814.7})]
    assert cells(facts, records, "Training memory", "measured")["Faster R-CNN"] == "4.0"


def test_the_models_of_the_page_exist(facts):
    from zoo.manifest import api

    names = [name for pair in facts["comparison_with_detectron2"] for name in pair["models"]]
    for name in [*names, *facts["training_throughput"]["models"]]:
        assert api.get(name).name == name


def test_the_command_needs_no_records(tmp_path, capsys):
    assert main.main(["report", "--comparison", "--results", str(tmp_path / "none.db")]) == 0
    assert capsys.readouterr().out.count("\n## ") == 7
