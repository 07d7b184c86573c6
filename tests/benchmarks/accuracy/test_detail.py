"""`bench accuracy --detail`, `bench browse`: what is behind an AP, compared with pycocotools and tidecv."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.cli import main
from benchmarks.datasets import coco_detail, coco_metric
from benchmarks.datasets.coco_errors import errors

TINY = Path(__file__).parents[2] / "data" / "coco"
TOLERANCE = 0.02  # points of AP50; the libraries differ in the third decimal on some sets
NAMES = {1: "a", 2: "b", 3: "c", 4: "d"}


def random_set(seed: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """40 images of four classes, with detections that are wrong in all ways."""
    random, annotations, rows = np.random.default_rng(seed), [], []
    for image in range(1, 41):
        count = int(random.integers(1, 9))
        boxes = np.column_stack([random.uniform(0, 400, (count, 2)), random.uniform(20, 150, (count, 2))])
        for box, label in zip(boxes, random.integers(1, 5, count).tolist()):
            row = {"id": len(annotations) + 1, "image_id": image, "category_id": label, "iscrowd": 0}
            annotations.append(row | {"bbox": box.tolist(), "area": float(box[2] * box[3])})
            for _ in range(int(random.integers(0, 3))):
                near = box + random.normal(0, random.choice([0.15, 0.3]), 4) * np.tile(box[2:], 2)
                near[2:] = np.maximum(near[2:], 3)
                other = label if random.random() < 0.75 else int(random.integers(1, 5))
                rows.append(detection(image, other, near, random.random()))
        for _ in range(4):
            box = [*random.uniform(0, 400, 2), *random.uniform(20, 150, 2)]
            rows.append(detection(image, int(random.integers(1, 5)), box, 0.7 * random.random()))
    images = [{"id": i, "width": 640, "height": 640} for i in range(1, 41)]
    categories = [{"id": i, "name": name} for i, name in NAMES.items()]
    return {"images": images, "annotations": annotations, "categories": categories}, rows


def detection(image: int, category: int, box: Any, score: float) -> dict[str, Any]:
    """A row of a results file."""
    bbox = [float(value) for value in box]
    return {"image_id": image, "category_id": category, "bbox": bbox, "score": float(score)}


def detail_of(document: dict[str, Any], rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The details of a random set."""
    images = [row["id"] for row in document["images"]]
    return coco_detail.detail(document, lambda ids: [row for row in rows if row["image_id"] in set(ids)], "box", images)


@pytest.mark.parametrize("seed", range(4))
def test_kinds_of_errors_are_those_of_tidecv(seed: int) -> None:
    tidecv = pytest.importorskip("tidecv", reason="needs tidecv (pip install tidecv)")
    document, rows = random_set(seed)
    ours = detail_of(document, rows)["tide"]
    truth, found = tidecv.Data("truth", 100), tidecv.Data("detections", 100)
    for data in (truth, found):
        for number, name in NAMES.items():
            data.add_class(number, name)
        for row in document["images"]:
            data.add_image(row["id"], str(row["id"]))
    for row in document["annotations"]:
        truth.add_ground_truth(row["image_id"], row["category_id"], row["bbox"])
    for row in rows:
        found.add_detection(row["image_id"], row["category_id"], row["score"], row["bbox"])
    tide = tidecv.TIDE()
    run = tide.evaluate(truth, found, mode=tidecv.TIDE.BOX)
    theirs = tide.get_main_errors()["detections"]
    special = tide.get_special_errors()["detections"]
    expected = theirs | {"FP": special["FalsePos"], "FN": special["FalseNeg"]}
    assert 100 * ours["ap_50"] == pytest.approx(run.ap, abs=TOLERANCE)
    assert ours["points"] == pytest.approx(expected, abs=TOLERANCE)
    assert ours["counts"] == {kind.short_name: len(listed) for kind, listed in run.error_dict.items()}


@pytest.mark.parametrize("seed", [0, 1])
def test_classes_and_curves_are_those_of_pycocotools(seed: int) -> None:
    document, rows = random_set(seed)
    ours = detail_of(document, rows)
    images = [row["id"] for row in document["images"]]
    scope = coco_metric.Scope("box", images, list(NAMES), (1, 10, 100))
    evaluator = coco_metric.by_pycocotools(document, lambda ids: rows, scope)
    evaluator.accumulate()
    precision = evaluator.eval["precision"]
    for label, one in enumerate(ours["classes"]):
        assert one["class"] == NAMES[label + 1]
        assert one["ap"] == pytest.approx(precision[:, :, label, 0, 2].mean(), abs=1e-9)
        assert one["ap_50"] == pytest.approx(precision[0, :, label, 0, 2].mean(), abs=1e-9)
        assert ours["curves"]["class"][one["class"]] == pytest.approx(precision[0, :, label, 0, 2], abs=1e-4)
    assert sum(one["objects"] for one in ours["classes"]) == len(document["annotations"])
    assert ours["curves"]["iou"]["0.75"] == pytest.approx(precision[5, :, :, 0, 2].mean(1), abs=1e-4)
    assert sum(map(sum, ours["confusion"]["matrix"])) >= len(document["annotations"])


def test_the_kinds_of_single_detections() -> None:
    objects = [
        {"bbox": [0, 0, 100, 100], "category_id": 1, "iscrowd": 0},
        {"bbox": [200, 200, 50, 50], "category_id": 2, "iscrowd": 0},
        {"bbox": [400, 0, 100, 100], "category_id": 1, "iscrowd": 1},
    ]
    table = [
        [1, 0, 0, 100, 95, 0.9, 1],
        [1, 0, 0, 100, 90, 0.8, 1],
        [1, 200, 200, 50, 50, 0.7, 1],
        [1, 50, 50, 100, 100, 0.6, 1],
        [1, 300, 300, 20, 20, 0.5, 1],
        [1, 410, 10, 30, 30, 0.5, 1],
        [1, 0, 0, 100, 100, 0.2, 2],
    ]
    result = errors(1, objects, np.array(table, np.float64))
    assert [one.kind for one in result.detections] == [
        "true",
        "duplicate",
        "class",
        "localization",
        "background",
        "missed",
    ]
    assert result.count == 5


def results_file(folder: Path) -> Path:
    """Detections of the small dataset's objects, one of them of a wrong class."""
    document = json.loads((TINY / "annotations" / "instances_val2017.json").read_text())
    ids = [row["id"] for row in document["categories"]]
    rows = [
        detection(row["image_id"], row["category_id"] if i else ids[-1], row["bbox"], 0.9 - i / 100)
        for i, row in enumerate(document["annotations"])
        if not row["iscrowd"]
    ]
    (folder / "predictions.json").write_text(json.dumps(rows))
    return folder / "predictions.json"


def test_details_are_written_as_data_page_and_drawings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ZOO_RESULTS", str(tmp_path / "results.db"))
    arguments = ["accuracy", "--predictions", str(results_file(tmp_path)), "--data", str(TINY), "--measure", "box"]
    arguments += ["--as", "<mine>", "--detail", str(tmp_path / "detail")]
    assert main.main(arguments) == 0
    detail = json.loads((tmp_path / "detail" / "detail.json").read_text())
    page = (tmp_path / "detail" / "detail.html").read_text()
    assert "&lt;mine&gt;" in page
    assert "Errors by kind" in page
    assert detail["worst"]
    for one in detail["worst"]:
        assert f'src="{one["file"]}"' in page
        assert cv2.imread(str(tmp_path / "detail" / one["file"])) is not None
    capsys.readouterr()
    assert main.main(arguments) == 2
    assert "exists already; --detail writes into a new or empty folder" in capsys.readouterr().err


def test_ground_truth_is_drawn_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["browse", str(TINY), "--out", str(tmp_path / "drawn"), "--limit", "2", "--masks"]
    assert main.main(arguments) == 0
    files = capsys.readouterr().out.split()
    assert len(files) == 2
    assert all(cv2.imread(file) is not None for file in files)
    assert main.main(arguments) == 2
    assert "exists already" in capsys.readouterr().err
