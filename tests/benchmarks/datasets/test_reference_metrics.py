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
from benchmarks.datasets.crowdhuman_metric import CrowdImage, crowd_metrics, weighing
from benchmarks.datasets.mean_ap import area, curve, known_mean, weighted_precision
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
    count = len(predictions)
    curves = [curve(voc.rank(predictions, ground_truth, label), range(count), count) for label in range(4)]
    points = known_mean(weighted_precision(one, np.ones(count), eleven_points=True) for one in curves)
    assert points == pytest.approx(case["numbers"]["voc_11_points"], abs=1e-6)
    area_under = known_mean(weighted_precision(one, np.ones(count)) for one in curves)
    assert area_under == pytest.approx(case["numbers"]["voc_area"], abs=1e-6)


def test_open_images_map_is_that_of_mmdetection() -> None:
    case = RECORDED["mean_ap"]
    curves, count = [], len(case["images"])
    for label in range(4):
        parts = []
        for image in case["images"]:
            one, theirs = found_of(image), np.array(image["labels"]) == label
            groups, mine = np.array(image["special"], bool)[theirs], one.labels == label
            objects = boxes(image["objects"])[theirs]
            parts.append(open_images.rank(one.boxes[mine], one.scores[mine], objects, groups))
        curves.append(curve(parts, range(count), count))
    expected = case["numbers"]["open_images"]
    assert known_mean(weighted_precision(one, np.ones(count)) for one in curves) == pytest.approx(expected, abs=1e-6)


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


def test_an_image_that_counts_twice_is_two_images() -> None:
    """The weighted form of each metric, against a dataset with copies."""
    case, weights = RECORDED["mean_ap"], np.array([2, 0, 1, 3])
    images = case["images"][: len(weights)]
    copies = [image for image, count in zip(images, weights) for _ in range(count)]
    for points in (True, False):
        numbers = []
        for listed, own in ((images, weights.astype(float)), (copies, np.ones(len(copies)))):
            found = {number: found_of(image) for number, image in enumerate(listed)}
            objects = {number: objects_of(image) for number, image in enumerate(listed)}
            curves = [curve(voc.rank(found, objects, label), range(len(listed)), len(listed)) for label in range(4)]
            numbers.append(known_mean(weighted_precision(one, own, points) for one in curves))
        assert numbers[0] == pytest.approx(numbers[1], abs=1e-12) and 0 < numbers[0] < 1


def objects_of(image: dict[str, Any]) -> voc.Objects:
    """The objects of a recorded image."""
    return voc.Objects(boxes(image["objects"]), np.array(image["labels"], int), np.array(image["special"], bool))


def test_cityscapes_and_crowds_of_copies_are_those_of_weights() -> None:
    random, weights = np.random.default_rng(3), np.array([1.0, 2.0, 0.0, 3.0])
    order = np.repeat(np.arange(4), weights.astype(int))
    instances, found = {}, {}
    for number in range(4):
        ids = np.zeros((60, 80), np.int32)
        masks = torch.zeros((6, 60, 80), dtype=torch.bool)
        for place, (x, y) in enumerate(random.integers(0, 40, (6, 2))):
            ids[y : y + 14, x : x + 14] = 24000 + place
            masks[place, y + 1 : y + 15, x + random.integers(0, 6) : x + 14] = True
        scores = random.permutation(np.linspace(0.1, 0.9, 6)).astype(np.float32)
        instances[number] = ids
        found[number] = Predictions(np.zeros((6, 4), np.float32), scores, np.zeros(6, int), encode_masks(masks))
    weighted = cityscapes_metric.weighing(found, instances.__getitem__, [24])(weights)
    copies = {place: found[number] for place, number in enumerate(order)}
    repeated = cityscapes_metric.evaluate(copies, lambda place: instances[order[int(place)]], [24])
    assert weighted == pytest.approx(repeated, abs=1e-12) and 0 < repeated["instance_ap"] < 1


def test_replicates_of_crowdhuman_count_images_as_often_as_they_are_drawn() -> None:
    random, weights = np.random.default_rng(4), np.array([1.0, 2.0, 0.0, 3.0])
    images = []
    for _ in range(4):
        corners = random.uniform(0, 200, (8, 2))
        persons = np.concatenate([corners, corners + 40], 1)
        boxes_found = persons + random.normal(0, 8, persons.shape)
        images.append(CrowdImage(boxes_found, np.sort(random.random(8))[::-1], persons, np.zeros((0, 4))))
    copies = [image for image, count in zip(images, weights) for _ in range(int(count))]
    weighted, repeated = weighing(images)(weights), crowd_metrics(copies)
    assert weighted["jaccard_index"] == pytest.approx(repeated["jaccard_index"], abs=1e-12)
    assert weighted["miss_rate"] == pytest.approx(repeated["miss_rate"], abs=0.02)
    assert weighted["ap_50"] == pytest.approx(repeated["ap_50"], abs=0.05)  # copies are one step of the curve
