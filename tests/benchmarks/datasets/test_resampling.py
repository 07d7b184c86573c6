"""The resampled metric is COCO's metric of the resampled images, to the last digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from benchmarks.datasets import coco_bootstrap, coco_matches, coco_metric, coco_results, resampling
from benchmarks.datasets.coco_results import Source
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import MetricConfig
from benchmarks.perf.evaluation import generate
from benchmarks.results import interval
from zoo.coco_format.keypoint_similarity import object_similarity

IMAGES = 40


def source_of(predictions: dict[Any, Predictions], ids: list[int]) -> Callable[[str], Source]:
    """The results for a measure."""
    return lambda measure: coco_results.source(measure, predictions, ids)


def drawn(ground_truth: dict[str, Any], predictions: dict[Any, Predictions], counts: Any) -> Any:
    """A dataset in which each image stands as often as it was drawn, copies side by side."""
    images, annotations, copies = [], [], {}
    for image_id, count in zip(predictions, counts.astype(int).tolist()):
        for _ in range(count):
            number = len(images) + 1
            images.append({"id": number, "width": 640, "height": 480})
            copies[number] = predictions[image_id]
            own = [row for row in ground_truth["annotations"] if row["image_id"] == image_id]
            for row in own:
                annotations.append(row | {"id": len(annotations) + 1, "image_id": number})
    return ground_truth | {"images": images, "annotations": annotations}, copies


@pytest.mark.parametrize("protocol", ["coco", "mmdet-v2"])
def test_a_replicate_is_pycocotools_number_of_the_drawn_images(protocol: str) -> None:
    ground_truth, predictions = generate(IMAGES, 60)
    # The copies of an image have their equal scores in turns, so there are none within an image.
    predictions = {i: replace(one, scores=distinct(one.scores)) for i, one in predictions.items()}
    ids = [row["id"] for row in ground_truth["categories"]]
    matches = coco_matches.match(ground_truth, source_of(predictions, ids)("box"), "box", list(predictions), ids, 1000)
    weights = coco_bootstrap.draw(IMAGES, 3, seed=1)
    values = coco_bootstrap.precisions(matches, coco_bootstrap.definitions("box", protocol), weights)
    values |= coco_bootstrap.recalls(matches, coco_bootstrap.recall_definitions("box", protocol), weights)
    assert list(values) == coco_metric.metric_names("box", protocol)
    for number in range(3):
        document, copies = drawn(ground_truth, predictions, weights[:, number])
        source = source_of(copies, ids)("box")
        theirs = coco_metric.evaluate(document, source, "box", list(copies), ids, protocol, "pycocotools")
        assert {name: one[number] for name, one in values.items()} == pytest.approx(
            {name: theirs[name] for name in values}, abs=1e-12
        )


def test_masks_match_as_pycocotools_matches_them() -> None:
    ground_truth, predictions = generate(IMAGES, 30)
    ids = [row["id"] for row in ground_truth["categories"]]
    for row in ground_truth["annotations"]:
        row["segmentation"] = rle(row["bbox"])
    masked = {i: replace(one, masks=[rle(xywh(box)) for box in one.boxes]) for i, one in predictions.items()}
    source = source_of(masked, ids)
    request = MetricConfig(measures=("mask",))
    result = resampling.resample(ground_truth, source, list(masked), ids, request).all_images
    theirs = coco_metric.evaluate(ground_truth, source("mask"), "mask", list(masked), ids, "coco", "pycocotools")
    assert result == pytest.approx({name: theirs[name] for name in result}, abs=1e-12)
    assert result["mask_ap"] > 0


def test_keypoints_match_as_pycocotools_matches_them() -> None:
    random = np.random.default_rng(0)
    annotations, predictions = [], {}
    for image_id in range(1, 31):
        points = random.uniform(20, 400, (3, 17, 3))
        points[..., 2] = random.integers(0, 3, (3, 17)) * (random.random((3, 1)) < 0.8)
        for one in points:
            x, y = one[:, 0].min(), one[:, 1].min()
            box = [x, y, np.ptp(one[:, 0]), np.ptp(one[:, 1])]
            visible = int((one[:, 2] > 0).sum())
            row = {"image_id": image_id, "category_id": 1, "iscrowd": 0, "bbox": box, "area": box[2] * box[3] / 2}
            row |= {"keypoints": one.flatten().tolist(), "num_keypoints": visible}
            annotations.append(row | {"id": len(annotations) + 1})
        near = (points + random.normal(0, 12, points.shape)).astype(np.float32)
        scores = np.sort(random.random(3).astype(np.float32))[::-1]
        predictions[image_id] = Predictions(np.zeros((3, 4), np.float32), scores, np.zeros(3, np.int64), keypoints=near)
    images = [{"id": i, "width": 640, "height": 480} for i in predictions]
    document = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "person"}]}
    source, request = source_of(predictions, [1]), MetricConfig(measures=("keypoint",))
    result = resampling.resample(document, source, list(predictions), [1], request).all_images
    theirs = coco_metric.evaluate(document, source("keypoint"), "keypoint", list(predictions), [1], "coco", "hotcoco")
    assert result == pytest.approx({name: theirs[name] for name in result}, abs=1e-9)
    assert 0 < result["keypoint_ap"] < 1


def test_the_same_images_give_the_same_replicates_and_others_do_not_pair() -> None:
    ground_truth, predictions = generate(10, 20)
    ids = [row["id"] for row in ground_truth["categories"]]
    sure = [
        resampling.resample(ground_truth, source_of(predictions, ids), images, ids, MetricConfig())
        for images in (list(predictions), list(predictions), list(predictions)[:9])
    ]
    assert sure[0].replicates == sure[1].replicates
    assert interval.why_not_paired(sure[0].parameters, sure[1].parameters) is None
    reason = interval.why_not_paired(sure[0].parameters, sure[2].parameters)
    assert reason == "the runs are over different images or annotations"


def test_recalls_of_proposals_know_no_classes() -> None:
    ground_truth, predictions = generate(20, 40)
    ids = [row["id"] for row in ground_truth["categories"]]
    source, request = source_of(predictions, ids), MetricConfig(measures=("proposal",), protocol="mmdet-v2")
    result = resampling.resample(ground_truth, source, list(predictions), ids, request)
    theirs = coco_metric.evaluate(
        ground_truth, source("proposal"), "proposal", list(predictions), ids, "mmdet-v2", "pycocotools"
    )
    assert result.all_images == pytest.approx(theirs, abs=1e-12) and set(result.replicates) == set(theirs)


def test_a_similarity_without_visible_keypoints_is_to_the_box() -> None:
    hidden = {"keypoints": [0.0] * 51, "bbox": [0, 0, 10, 10], "area": 100}
    inside, outside = [5.0, 5.0, 1.0] * 17, [900.0, 5.0, 1.0] * 17
    assert object_similarity([inside, outside], [hidden])[:, 0].tolist() == [1.0, pytest.approx(0.0)]


def distinct(scores: Any) -> Any:
    """Falling scores without equal ones."""
    return (scores - np.arange(len(scores)) * 1e-5).astype(np.float32)


def rle(box: list[float]) -> dict[str, Any]:
    """A box as a mask of 640 x 480."""
    from pycocotools import mask as coco_mask

    one = coco_mask.frPyObjects(np.array([box], np.float64), 480, 640)[0]
    return {"size": [480, 640], "counts": one["counts"].decode("ascii")}


def xywh(box: Any) -> list[float]:
    """A box with its width and height."""
    x1, y1, x2, y2 = (float(value) for value in box)
    return [x1, y1, x2 - x1, y2 - y1]
