"""Checkpoint files of the user's own, and exported files, in the place of names."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import zoo
from benchmarks.cli import main
from benchmarks.datasets import demo
from zoo.cli.main import main as zoo_main

QUICK = ["--protocol", "interleaved", "--set", "min_iterations=2", "--set", "min_seconds=0", "--limit", "2"]


@pytest.fixture
def tuned(tmp_path: Path) -> Path:
    """A checkpoint of the user's own, which says itself what it is."""
    return Path(shutil.copy(zoo.fetch("demo_atss"), tmp_path / "my_finetuned.pth"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Four images in COCO's layout."""
    return demo.write(tmp_path / "data", {"val": 4})


def inference(folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """The record of `bench inference`."""
    capsys.readouterr()
    command = ["inference", *QUICK, "--results", str(folder / "r.db"), "--json", *arguments]
    assert main.main(command) == 0
    (record,) = json.loads(capsys.readouterr().out)
    return dict(record)


def test_inference_takes_a_checkpoint_file_for_a_name(
    tuned: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = inference(tuned.parent, capsys, str(tuned), "--images", str(data / "val"))
    published = inference(tuned.parent, capsys, "demo_atss", "--images", str(data / "val"))
    assert (record["model"], record["parameters"]["weights"]) == ("my_finetuned", "my_finetuned.pth")
    assert record["checkpoint"].startswith("232066b4")
    assert record["samples"]["detections"] == published["samples"]["detections"]


def test_accuracy_takes_a_checkpoint_file_for_a_name(
    tuned: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = []
    for name in (str(tuned), "demo_atss"):
        command = ["accuracy", name, "--dataset", "demo", "--data", str(data), "--json"]
        assert main.main([*command, "--results", str(data / "r.db")]) == 0
        result.append(json.loads(capsys.readouterr().out))
    assert result[0]["model"] == "my_finetuned"
    assert result[0]["metrics"]["box_ap"] == result[1]["metrics"]["box_ap"] > 0.3


@pytest.mark.parametrize("of_file", [False, True], ids=["a model", "a checkpoint file"])
def test_an_exported_file_is_measured_under_the_same_protocol(
    of_file: bool, tuned: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnx", reason="onnx is not installed")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path, images = tuned.parent / "m.onnx", ["--images", str(data / "val")]
    assert zoo_main(["export", str(tuned) if of_file else "demo_atss", "--onnx", str(path), *images]) == 0
    engine = ["--runtime", "onnxruntime", "--threads", "1", *images]
    record = inference(tuned.parent, capsys, str(path), *engine)
    assert (record["model"], record["protocol"]) == ("my_finetuned" if of_file else "demo_atss", "interleaved")
    assert (record["parameters"]["runtime"], record["parameters"]["weights"]) == ("onnxruntime", "m.onnx")
    artifact = record["parameters"]["artifact"]
    assert (artifact["sha256"], artifact["bytes"]) == (sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
    assert record["metrics"]["fps"] > 0 and record["metrics"]["flops"] > 0
    made_on_the_way = inference(tuned.parent, capsys, "demo_atss", *engine)
    assert record["samples"]["detections"] == made_on_the_way["samples"]["detections"]


def test_a_file_that_is_no_export_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    path = tmp_path / "m.onnx"
    path.write_bytes(b"nothing")
    for engine, sentence in (
        ("onnxruntime", "cannot be read as an ONNX file"),
        ("torch", "give --runtime onnxruntime"),
    ):
        assert main.main(["inference", *QUICK, "--runtime", engine, str(path)]) == 2
        err = capsys.readouterr().err
        assert sentence in err and err.count("\n") == 1
