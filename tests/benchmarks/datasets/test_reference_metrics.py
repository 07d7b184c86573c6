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
from benchmarks.datasets.predictions import Found
from zoo.coco_format.results import encode_masks

RECORDED: dict[str, Any] = json.loads((Path(__file__).parents[2] / "data" / "reference_metrics.json").read_text())


def boxes(rows: list[list[float]]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_lvis_ap_is_that_of_the_lvis_api(monkeypatch: pytest.MonkeyPatch) -> None:
    case = RECORDED["lvis"]
    monkeypatch.setattr(streaming, "PICTURES", 3)  # so that there are several blocks
    image_ids = [row["id"] for row in case["truth"]["images"]]

    def results(ids: Sequence[int | str]) -> list[dict[str, Any]]:
        return [row for row in case["results"] if row["image_id"] in ids]

    numbers = lvis.evaluate(case["truth"], results, "box", image_ids)
    expected = {f"box_{name}": case["numbers"][key] for key, name in lvis.NAMES.items()}
    assert numbers == pytest.approx(expected, abs=1e-12)


def test_voc_map_is_that_of_mmdetection() -> None:
    case = RECORDED["mean_ap"]
    found, truth = {}, {}
    for number, picture in enumerate(case["pictures"]):
        found[number] = found_of(picture)
        labels, difficult = np.array(picture["labels"], int), np.array(picture["special"], bool)
        truth[number] = voc.Objects(boxes(picture["objects"]), labels, difficult)
    ranked = [one for label in range(4) if (one := voc.rank(found, truth, label)).positives]
    assert mean(average_precision(one, eleven_points=True) for one in ranked) == pytest.approx(
        case["numbers"]["voc_11_points"], abs=1e-6
    )
    assert mean(map(average_precision, ranked)) == pytest.approx(case["numbers"]["voc_area"], abs=1e-6)


def test_open_images_map_is_that_of_mmdetection() -> None:
    case = RECORDED["mean_ap"]
    ranked = []
    for label in range(4):
        parts = []
        for picture in case["pictures"]:
            one, theirs = found_of(picture), np.array(picture["labels"]) == label
            groups, mine = np.array(picture["special"], bool)[theirs], one.labels == label
            objects = boxes(picture["objects"])[theirs]
            parts.append(open_images.rank(one.boxes[mine], one.scores[mine], objects, groups))
        ranked.append(join(parts))
    expected = case["numbers"]["open_images"]
    assert mean(average_precision(one) for one in ranked if one.positives) == pytest.approx(expected, abs=1e-6)


def found_of(picture: dict[str, Any]) -> Found:
    """The detections of a recorded picture."""
    scores, labels = np.array(picture["scores"], np.float32), np.array(picture.get("found", []), np.int64)
    return Found(boxes(picture["boxes"]), scores, labels)


def test_cityscapes_instance_ap_is_that_of_cityscapes_scripts() -> None:
    case = RECORDED["cityscapes"]
    categories, found, truth = list(CATEGORIES), {}, {}
    for number, picture in enumerate(case["pictures"]):
        ids = np.full(case["size"], case["background"], np.int32)
        for region, x, y, w, h in picture["regions"]:
            ids[y : y + h, x : x + w] = region
        masks = torch.zeros((len(picture["masks"]), *case["size"]), dtype=torch.bool)
        for mask, (_, _, x, y, w, h) in zip(masks, picture["masks"]):
            mask[y : y + h, x : x + w] = True
        labels = np.array([categories.index(row[0]) for row in picture["masks"]])
        scores = np.array([row[1] for row in picture["masks"]], np.float32)
        found[number] = Found(np.zeros((len(scores), 4), np.float32), scores, labels, encode_masks(masks))
        truth[number] = ids
    numbers = cityscapes_metric.evaluate(found, truth.__getitem__, categories)
    assert numbers == pytest.approx(case["numbers"], abs=1e-12)


def test_wider_face_ap_is_that_of_eval_tools() -> None:
    case = RECORDED["wider_face"]
    found = {number: found_of(picture) for number, picture in enumerate(case["pictures"])}
    scores = wider_face.stretched({number: one.scores.astype(np.float64) for number, one in found.items()})
    curve = np.zeros((1000, 2))
    for number, picture in enumerate(case["pictures"]):
        counted = np.array(picture["counted"], bool)
        faces = wider_face.corners(np.array(picture["faces"]))
        curve += wider_face.picture_curve(found[number].boxes, scores[number], faces, counted)
    positives = sum(sum(picture["counted"]) for picture in case["pictures"])
    found_ap = area(curve[:, 1] / positives, curve[:, 1] / np.maximum(curve[:, 0], 1))
    assert found_ap == pytest.approx(case["numbers"]["ap"], abs=1e-12)


def test_greedy_recall_of_proposals_is_that_of_mmdetection(monkeypatch: pytest.MonkeyPatch) -> None:
    case = RECORDED["proposal_recall"]
    monkeypatch.setattr(proposal_recall, "LIMITS", case["limits"])
    found = {}
    for image_id, rows in case["boxes"].items():
        scores = np.linspace(1, 0, len(rows)).astype(np.float32)
        found[int(image_id)] = Found(boxes(rows), scores, np.zeros(len(rows), np.int64))
    numbers = proposal_recall.evaluate(case["truth"], found)
    assert list(numbers.values()) == pytest.approx(case["numbers"], abs=1e-12)
