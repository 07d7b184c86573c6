"""`bench accuracy` of files of `zoo export`: the AP of the very bytes that are run."""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from benchmarks.cli import main
from benchmarks.datasets import demo
from zoo.cli.main import main as zoo_main
from zoo.export.formats import FORMATS

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

OPTIONS = {".onnx": "--onnx", ".pt2": "--torch-export", ".xml": "--openvino"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images in COCO's layout."""
    return demo.write(tmp_path_factory.mktemp("data"), {"val": 6})


def exported(suffix: str, folder: Path, data: Path, *options: str) -> Path:
    """demo_atss as a file."""
    if suffix == ".xml":
        pytest.importorskip("openvino", reason="openvino is not installed")
    path = folder / f"demo_atss{suffix}"
    target = folder if suffix == ".xml" else path
    words = ["export", "demo_atss", OPTIONS[suffix], str(target), "--images", str(data / "val"), *options]
    assert zoo_main(words) == 0
    return path


def accuracy(capsys: pytest.CaptureFixture[str], name: str, data: Path, *options: str) -> dict[str, Any]:
    """The record of `bench accuracy`."""
    capsys.readouterr()
    words = ["accuracy", name, "--data", str(data), "--json", "--results", str(data / "r.db"), *options]
    assert main.main(words) == 0
    return dict(json.loads(capsys.readouterr().out))


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_scores_what_its_network_scores(
    suffix: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported(suffix, tmp_path, data)
    record, network = accuracy(capsys, str(path), data), accuracy(capsys, "demo_atss", data)
    assert record["metrics"]["box_ap"] == pytest.approx(network["metrics"]["box_ap"], abs=5e-4)
    assert record["metrics"]["box_ap"] > 0.3
    told = record["parameters"]
    assert (record["model"], told["weights"], told["runtime"]) == ("demo_atss", path.name, FORMATS[suffix][0])
    content = path.read_bytes() + (path.with_suffix(".bin").read_bytes() if suffix == ".xml" else b"")
    assert (told["artifact"]["sha256"], told["artifact"]["bytes"]) == (sha256(content).hexdigest(), len(content))
    assert record["checkpoint"].startswith(network["checkpoint"])  # published as the first digits


def test_a_batch_of_images_gives_what_single_images_give(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported(".onnx", tmp_path, data)
    one, three = (accuracy(capsys, str(path), data, "--batch-size", size) for size in ("1", "3"))
    assert one["metrics"]["box_ap"] == pytest.approx(three["metrics"]["box_ap"], abs=5e-4)


def test_a_model_is_exported_on_the_way_for_another_runtime(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = accuracy(capsys, "demo_atss", data, "--runtime", "onnxruntime")
    assert record["parameters"]["runtime"] == "onnxruntime" and record["parameters"]["artifact"]["bytes"] > 0
    assert record["metrics"]["box_ap"] > 0.3


@pytest.mark.parametrize(
    "options, sentence",
    [
        (["--tta"], "--tta is for networks"),
        (["--checkpoint", "x.pth"], "--checkpoint is for networks"),
        (["--runtime", "torch"], "is run by onnxruntime or openvino: give --runtime onnxruntime"),
    ],
)
def test_what_a_file_cannot_do_is_one_sentence(
    options: list[str], sentence: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = exported(".onnx", tmp_path, data)
    capsys.readouterr()
    assert main.main(["accuracy", str(path), "--data", str(data), "--results", str(tmp_path / "r.db"), *options]) == 2
    err = capsys.readouterr().err
    assert sentence in err and err.count("\n") == 1


def test_a_file_for_other_classes_than_the_dataset_has_is_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    path = exported(".onnx", tmp_path, data)
    graph = onnx.load(path)
    facts = json.loads(graph.metadata_props[0].value)
    facts["classes"], facts["label_count"] = ["somebody", "something"], 2
    onnx.helper.set_model_props(graph, {graph.metadata_props[0].key: json.dumps(facts)})
    onnx.save(graph, path)
    capsys.readouterr()
    assert main.main(["accuracy", str(path), "--data", str(data), "--results", str(tmp_path / "r.db")]) != 0
    err = capsys.readouterr().err
    assert "somebody" in err and err.count("\n") == 1 and "Traceback" not in err


def test_a_file_that_changed_since_its_record_is_said(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx = pytest.importorskip("onnx")
    path = exported(".onnx", tmp_path, data)
    words = ["accuracy", str(path), "--data", str(data), "--results", str(tmp_path / "r.db"), "--limit", "1"]
    assert main.main(words) == 0
    capsys.readouterr()
    graph = onnx.load(path)
    graph.producer_name = "somebody else"
    onnx.save(graph, path)
    assert main.main(words) == 0
    assert "its content changed, so reports keep the two apart" in capsys.readouterr().err


@pytest.mark.parametrize("runtime, group", [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_a_missing_runtime_is_one_sentence_with_its_extra(
    runtime: str, group: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    path = exported(".onnx", tmp_path, data)
    capsys.readouterr()
    monkeypatch.setitem(sys.modules, runtime, None)
    words = ["accuracy", str(path), "--data", str(data), "--results", str(tmp_path / "r.db"), "--runtime", runtime]
    assert main.main(words) == 2
    err = capsys.readouterr().err
    assert f"{runtime} is not installed; it is of the extra '{group}'" in err and err.count("\n") == 1
    assert not (tmp_path / "r.db").exists()


def test_a_file_that_is_not_there_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main(["accuracy", str(tmp_path / "m.xml"), "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"bench: {tmp_path / 'm.xml'} does not exist.\n"
