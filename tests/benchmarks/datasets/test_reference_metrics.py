"""Our metrics against numbers that the reference implementations gave for the same input."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.datasets import cityscapes_metric, lvis, open_images, proposal_recall, streaming, voc, wider_face
from benchmarks.datasets.cityscapes import CATEGORIES
from benchmarks.datasets.mean_ap import area, average_precision, join, mean
from benchmarks.datasets.predictions import Predictions
from zoo.coco_format.results import encode_masks

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "reference_metrics.json").read_text())


def boxes(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_lvis_ap_is_that_of_the_lvis_api(monkeypatch: pytest.MonkeyPatch) -> None:
    case = RECORDED["lvis"]
    monkeypatch.setattr(streaming, "IMAGES", 3)  # so that there are several blocks
    image_ids = [row["id"] for row in case["ground_truth"]["images"]]

    def results(ids: Sequence[int | str]) -> list[dict[str, Any]]:
        return [row for row in case["results"] if row["image_id"] in ids]

    numbers = lvis.evaluate(case["ground_truth"], results, "box", image_ids)
    expected = {f"box_{name}": case["numbers"][key] for key, name in lvis.NAMES.items()}
    assert numbers == pytest.approx(expected, abs=1e-12)


def test_voc_map_is_that_of_mmdetection() -> None:
    case = RECORDED["mean_ap"]
    predictions, ground_truth = {}, {}
    for number, image in enumerate(case["images"]):
        predictions[number] = found_of(image)
        labels, difficult = np.array(image["labels"], int), np.array(image["special"], bool)
        ground_truth[number] = voc.Objects(boxes(image["objects"]), labels, difficult)
    ranked = [one for label in range(4) if (one := voc.rank(predictions, ground_truth, label)).positives]
    assert mean(average_precision(one, eleven_points=True) for one in ranked) == pytest.approx(
        case["numbers"]["voc_11_points"], abs=1e-6
    )
    assert mean(map(average_precision, ranked)) == pytest.approx(case["numbers"]["voc_area"], abs=1e-6)


def test_open_images_map_is_that_of_mmdetection() -> None:
    case = RECORDED["mean_ap"]
    ranked = []
    for label in range(4):
        parts = []
        for image in case["images"]:
            one, theirs = found_of(image), np.array(image["labels"]) == label
            groups, mine = np.array(image["special"], bool)[theirs], one.labels == label
            objects = boxes(image["objects"])[theirs]
            parts.append(open_images.rank(one.boxes[mine], one.scores[mine], objects, groups))
        ranked.append(join(parts))
    expected = case["numbers"]["open_images"]
    assert mean(average_precision(one) for one in ranked if one.positives) == pytest.approx(expected, abs=1e-6)


def found_of(image: dict[str, Any]) -> Predictions:
    """The detections of a recorded image."""
    scores, labels = np.array(image["scores"], np.float32), np.array(image.get("found", []), np.int64)
    return Predictions(boxes(image["boxes"]), scores, labels)


def test_cityscapes_instance_ap_is_that_of_cityscapes_scripts() -> None:
    case = RECORDED["cityscapes"]
    categories, predictions, ground_truth = list(CATEGORIES), {}, {}
    for number, image in enumerate(case["images"]):
        ids = np.full(case["size"], case["background"], np.int32)
        for region, x, y, w, h in image["regions"]:
            ids[y : y + h, x : x + w] = region
        masks = torch.zeros((len(image["masks"]), *case["size"]), dtype=torch.bool)
        for mask, (_, _, x, y, w, h) in zip(masks, image["masks"]):
            mask[y : y + h, x : x + w] = True
        labels = np.array([categories.index(row[0]) for row in image["masks"]])
        scores = np.array([row[1] for row in image["masks"]], np.float32)
        predictions[number] = Predictions(np.zeros((len(scores), 4), np.float32), scores, labels, encode_masks(masks))
        ground_truth[number] = ids
    numbers = cityscapes_metric.evaluate(predictions, ground_truth.__getitem__, categories)
    assert numbers == pytest.approx(case["numbers"], abs=1e-12)


def test_wider_face_ap_is_that_of_eval_tools() -> None:
    case = RECORDED["wider_face"]
    predictions = {number: found_of(image) for number, image in enumerate(case["images"])}
    scores = wider_face.stretched({number: one.scores.astype(np.float64) for number, one in predictions.items()})
    curve = np.zeros((1000, 2))
    for number, image in enumerate(case["images"]):
        counted = np.array(image["counted"], bool)
        faces = wider_face.corners(np.array(image["faces"]))
        curve += wider_face.image_curve(predictions[number].boxes, scores[number], faces, counted)
    positives = sum(sum(image["counted"]) for image in case["images"])
    found_ap = area(curve[:, 1] / positives, curve[:, 1] / np.maximum(curve[:, 0], 1))
    assert found_ap == pytest.approx(case["numbers"]["ap"], abs=1e-12)


def test_greedy_recall_of_proposals_is_that_of_mmdetection(monkeypatch: pytest.MonkeyPatch) -> None:
    case = RECORDED["proposal_recall"]
    monkeypatch.setattr(proposal_recall, "LIMITS", case["limits"])
    predictions = {}
    for image_id, rows in case["boxes"].items():
        scores = np.linspace(1, 0, len(rows)).astype(np.float32)
        predictions[int(image_id)] = Predictions(boxes(rows), scores, np.zeros(len(rows), np.int64))
    numbers = proposal_recall.evaluate(case["ground_truth"], predictions)
    assert list(numbers.values()) == pytest.approx(case["numbers"], abs=1e-12)
