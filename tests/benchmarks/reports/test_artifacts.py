"""The table of exported files joins what is known of the very same bytes, and nothing else."""

from __future__ import annotations

from typing import Any

from benchmarks.reports import artifacts, stages
from benchmarks.results import selection
from benchmarks.results.record import Record


def record(kind: str, digest: str, runtime: str = "onnxruntime", **metrics: float) -> Record:
    """A measurement of the file with a hash."""
    file = {"file": "m.onnx", "sha256": digest * 64, "bytes": 2**20, "precision": "fp32"}
    parameters = {"artifact": file, "runtime": runtime, "images": 38, "dataset": "coco_2017", "split": "val"}
    return Record("yolox", kind, parameters=parameters, metrics=metrics, environment={"device": "cpu"})


def rows(*records: Record) -> list[Any]:
    return list(artifacts.table(records).rows)


def test_accuracy_and_speed_of_one_file_stand_in_one_row() -> None:
    (row,) = rows(record("accuracy", "a", box_ap=0.26), record("inference", "a", fps=30.0, resident_peak_mib=100.0))
    assert (row["AP"], row["fps"], row["memory MiB"], row["MiB"]) == (26.0, 30.0, 100.0, 1.0)


def test_two_files_are_never_mixed_although_name_and_model_are_the_same() -> None:
    of_one, of_other = rows(record("accuracy", "a", box_ap=0.26), record("inference", "b", fps=30.0))
    assert (of_one["AP"], of_one["fps"]) == (26.0, None)
    assert (of_other["AP"], of_other["fps"]) == (None, 30.0)


def test_two_runtimes_of_one_file_are_never_mixed() -> None:
    pair = rows(record("accuracy", "a", box_ap=0.26), record("inference", "a", "openvino", fps=30.0))
    assert [(row["runtime"], row["AP"], row["fps"]) for row in pair] == [
        ("onnxruntime", 26.0, None),
        ("openvino", None, 30.0),
    ]


def test_an_exported_file_does_not_stand_for_its_network() -> None:
    assert selection.newest([record("inference", "a", fps=30.0)], "inference") == {}


def test_records_of_networks_are_not_in_the_table() -> None:
    assert rows(Record("yolox", "inference", metrics={"fps": 1.0})) == []


def test_the_stage_that_takes_longest_is_named() -> None:
    one = Record(
        "yolox",
        "inference",
        "end-to-end",
        {"streams": 2},
        {
            "stage_ms_decode": 6.0,
            "stage_ms_network": 3.0,
            "stage_ms_encode": 1.0,
            "fps": 100.0,
            "overlapped_fps": 150.0,
        },
    )
    (row,) = stages.table([one]).rows
    assert (row["limited by"], row["decode ms"], row["overlapped fps"]) == ("decode (60%)", 6.0, 150.0)
    assert "limited by decode (60%); overlapped in 2 streams 150.00 fps" in stages.sentence(one)
    assert stages.sentence(Record("yolox", "inference")) == ""
