"""`zoo export`, as a user sees it."""

from __future__ import annotations

import importlib
import json
import sys
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from zoo.cli.main import main
from zoo.export import difference, quantize

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
cv2 = pytest.importorskip("cv2", reason="OpenCV is not installed")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three images of two sizes, with rectangles."""
    random = np.random.default_rng(0)
    for number, (height, width) in enumerate(((120, 160), (120, 160), (160, 120))):
        image = random.integers(0, 60, (height, width, 3), dtype=np.uint8)
        for _ in range(6):
            top, left = random.integers(0, 80, 2)
            image[top : top + 40, left : left + 30] = random.integers(60, 256, 3)
        assert cv2.imwrite(str(tmp_path / f"{number}.png"), image)
    return tmp_path


@pytest.mark.parametrize(
    "name, kind, file", [("demo_mask_rcnn", "--onnx", "m.onnx"), ("demo_atss", "--torch-export", "m.pt2")]
)
def test_the_file_is_written_and_compared_on_images_of_all_sizes(name, kind, file, folder, capsys):
    path = folder / "out" / file
    path.parent.mkdir()
    assert main(["export", name, kind, str(path), "--images", str(folder), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["free_size"] and result["matched"] > 0.97 and result["detections"] > 5
    assert result["score"] < 1e-4 and result["box"] < 0.05
    assert (result["mask"] is not None) == (name == "demo_mask_rcnn")
    beside = [] if file.endswith(".onnx") else [f"{file}.json"]
    assert sorted(p.name for p in path.parent.iterdir()) == [file, *beside]
    assert (result["sha256"], result["bytes"]) == (sha256(path.read_bytes()).hexdigest(), path.stat().st_size)


def test_the_comparison_is_a_sentence_without_json(folder, capsys):
    assert main(["export", "demo_atss", "--onnx", str(folder / "m.onnx"), "--images", str(folder / "0.png")]) == 0
    out = capsys.readouterr().out
    assert out.startswith("any input size: 100.0% of ") and "on 1 images are the same" in out


def test_a_graph_that_finds_something_else_is_status_1(folder, capsys, monkeypatch):
    monkeypatch.setattr(difference, "difference", lambda *_: difference.Difference(10, 0.5, 0.0, 0.0))
    assert main(["export", "demo_atss", "--onnx", str(folder / "m.onnx"), "--images", str(folder / "0.png")]) == 1
    assert "finds 50.0% of what the network finds" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, sentence",
    [
        (["demo_yolo", "--onnx", "m.onnx", "--images", "0.png"], "demo_yolox"),
        (["demo_yolox", "--images", "0.png"], "one of the arguments --onnx --torch-export --openvino is required"),
        (["demo_yolox", "--onnx", "m.onnx", "--torch-export", "m.pt2", "--images", "0.png"], "not allowed with"),
    ],
    ids=["unknown name", "no file", "two files"],
)
def test_misuse_is_one_sentence_and_status_2(arguments, sentence, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    try:
        status = main(["export", *arguments])
    except SystemExit as stop:  # argparse
        status = stop.code
    assert status == 2
    assert sentence in capsys.readouterr().err
    assert not (folder / "m.onnx").exists()


def test_a_missing_image_is_one_sentence(folder, capsys):
    assert main(["export", "demo_yolox", "--onnx", str(folder / "m.onnx"), "--images", "missing.png"]) == 1
    assert "missing.png: there is no such file" in capsys.readouterr().err


@pytest.mark.parametrize("library", ["onnx", "onnxruntime"])
def test_a_missing_library_is_said_with_the_command_that_installs_it(library, folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, library, None)
    assert main(["export", "demo_yolox", "--onnx", str(folder / "m.onnx"), "--images", str(folder / "0.png")]) == 2
    assert (
        f"{library} is not installed; it is of the extra 'onnx': pip install onnx onnxruntime"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("kind, target", [("--onnx", "m.onnx"), ("--openvino", "made")])
def test_what_cannot_be_quantized_is_one_sentence_and_leaves_nothing(kind, target, folder, capsys, monkeypatch):
    def quantizer(plain, part, *_, **__):
        Path(part).write_bytes(b"half")
        raise RuntimeError("no range for a layer\nadvice for programmers")

    monkeypatch.setattr(importlib.import_module("onnxruntime.quantization"), "quantize_static", quantizer)
    before = sorted(folder.iterdir())
    words = ["export", "demo_atss", kind, str(folder / target), "--int8", "--calibrate", str(folder), "--limit", "1"]
    assert main(words) == 1
    err = capsys.readouterr().err
    assert err == "zoo: demo_atss cannot be quantized: no range for a layer\n"
    assert sorted(folder.iterdir()) == before


def test_a_network_without_layers_to_quantize_is_one_sentence_and_leaves_nothing(folder, capsys, monkeypatch):
    monkeypatch.setattr(quantize, "BODY", ("/nothing/",))
    before = sorted(folder.iterdir())
    words = ["--int8", "--calibrate", str(folder), "--limit", "1"]
    assert main(["export", "demo_atss", "--onnx", str(folder / "m.onnx"), *words]) == 1
    assert "cannot be quantized: it has no convolution in its backbone or neck" in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


def test_calibration_images_that_cannot_be_read_are_one_sentence_and_leave_nothing(folder, capsys):
    (folder / "bad").mkdir()
    (folder / "bad" / "0.png").write_bytes(b"no image")
    words = ["--int8", "--calibrate", str(folder / "bad")]
    assert main(["export", "demo_atss", "--onnx", str(folder / "m.onnx"), *words]) == 1
    err = capsys.readouterr().err
    assert "0.png" in err and err.count("\n") == 1 and not (folder / "m.onnx").exists()


@pytest.mark.parametrize("kind", ["--onnx", "--torch-export"])
def test_a_file_that_cannot_be_written_is_one_sentence(kind, folder, capsys):
    path = folder / "missing" / ("m.onnx" if kind == "--onnx" else "m.pt2")
    assert main(["export", "demo_yolox", kind, str(path), "--images", str(folder / "0.png")]) == 1
    err = capsys.readouterr().err
    assert "No such file or directory" in err and str(path) in err and "Traceback" not in err
