"""Detectors of other projects, in an environment of the user's, on the same images and under the same metric."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

import zoo
from benchmarks.cli import main
from benchmarks.datasets import demo
from benchmarks.results import agreement
from benchmarks.speed import foreign
from benchmarks.speed.foreign_detector import ForeignDetector
from benchmarks.speed.peers import external
from zoo.errors import UsageError

# Speaks the contract in the place of a project that is not installed: it finds what lies in a JSON file.
STAND_IN = """
import json, sys
sys.path.insert(0, {workers!r})
import torch
from serve import serve
json.__version__ = "9.9"

class Detector:
    implementation, module = "stand-in", json
    def __init__(self, request):
        self.model = torch.nn.Linear(3, 1)
        self.rows_of, self.names = json.load(open(request["config"]))
    def load(self, path):
        return path.rpartition("/")[2], (640, 640)
    def compute(self, name):
        return self.rows_of[name]
    def rows(self, rows):
        return [row[0] for row in rows], [0.9 for _ in rows], [row[1] for row in rows]
    def classes(self):
        return self.names

serve(Detector)
"""


@pytest.fixture
def perfect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """A detector that finds the ground truth of four images: its name, and the data."""
    data = demo.write(tmp_path / "data", {"val": 4})
    (annotations,) = (data / "annotations").glob("*val*.json")
    truth = json.loads(annotations.read_text())
    places = {category["id"]: place for place, category in enumerate(truth["categories"])}
    names = {image["id"]: Path(image["file_name"]).name for image in truth["images"]}
    found: dict[str, list[Any]] = {name: [] for name in names.values()}
    for one in truth["annotations"]:
        x, y, w, h = one["bbox"]
        found[names[one["image_id"]]].append([[x, y, x + w, y + h], places[one["category_id"]]])
    config = tmp_path / "found.json"
    config.write_text(json.dumps([found, [category["name"] for category in truth["categories"]]]))
    (tmp_path / "ultralytics_worker.py").write_text(STAND_IN.format(workers=str(external.WORKERS)))
    monkeypatch.setattr(external, "WORKERS", tmp_path)
    return f"ultralytics:{config}", data


def run(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    capsys.readouterr()
    assert main.main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_detector_of_another_project_is_scored_by_the_same_metric(
    perfect: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, data = perfect
    words = ["--dataset", "demo", "--data", str(data), "--results", str(tmp_path / "r.db")]
    record = run(capsys, "accuracy", name, "--python", f"ultralytics={sys.executable}", *words)
    assert record["metrics"]["box_ap"] == pytest.approx(1.0)
    assert (record["model"], record["parameters"]["peer"]) == (name, "ultralytics")
    assert (record["parameters"]["version"], record["parameters"]["parameters"]) == ("9.9", 4)


def test_its_speed_is_measured_under_the_same_protocol_by_its_own_clock(
    perfect: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, data = perfect
    words = ["--images", str(data / "val"), "--results", str(tmp_path / "r.db")]
    quick = ["--set", "min_iterations=4", "--set", "min_seconds=0", "--set", "warmup_seconds=0"]
    python = ["--python", f"ultralytics={sys.executable}"]
    (record,) = run(capsys, "inference", name, *python, *words, *quick)
    assert record["protocol"] == "interleaved" and record["metrics"]["fps"] > 0
    assert len(record["samples"]["latency_s"]) >= 4 and record["metrics"]["resident_peak_mib"] > 0
    assert record["parameters"]["resolution"] == {"640x640": 4}


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["accuracy", "ultralytics:yolo11n.pt"], "say --python ultralytics=PATH"),
        (["accuracy", "rfdetr:"], "say --python rfdetr=PATH"),
        (["inference", "transformers:x", "--protocol", "mmdet-v2"], "keeps its own time"),
        (["accuracy", "transformers:x", "--tta"], "--tta is for networks of this project"),
    ],
)
def test_what_is_missing_is_one_sentence(
    words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.main([*words, "--results", str(tmp_path / "r.db")]) == 2
    err = capsys.readouterr().err
    assert sentence in err and "Traceback" not in err


def test_names_of_models_are_not_taken_for_other_projects() -> None:
    assert not foreign.means_foreign("detectron2/retinanet_R_50_FPN_1x")
    assert foreign.means_foreign("transformers:facebook/detr-resnet-50")
    with pytest.raises(UsageError, match="say which detector"):
        foreign.target("transformers:", {})


def test_transformers_detects_what_ours_does_with_the_same_weights(tmp_path: Path) -> None:
    pytest.importorskip("transformers", reason="transformers is not installed")
    pytest.importorskip("timm", reason="timm is not installed")
    from zoo.checkpoint.convert.to_transformers import write_transformers

    torch.manual_seed(0)
    model = zoo.build("detr_r50_8x2_150e_coco")
    folder = write_transformers(model.state_dict(), tmp_path / "detr", model.classes or ())
    image = np.random.default_rng(0).integers(0, 256, (800, 1066, 3), dtype=np.uint8)  # which neither side resizes
    assert cv2.imwrite(str(tmp_path / "a.png"), image)
    (ours,) = model.detect([tmp_path / "a.png"])
    detector = ForeignDetector("transformers", sys.executable, str(folder))
    theirs = detector.detect_sample(tmp_path / "a.png")
    detector.workload.close()
    assert detector.classes == list(model.classes or ())
    agreed = agreement.compare([ours], [theirs])
    assert agreed.detections == len(theirs) == 100
    assert agreed.matched == 1.0 and agreed.score_difference < 1e-3 and agreed.box_difference < 1.0
