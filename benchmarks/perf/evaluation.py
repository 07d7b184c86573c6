"""COCO evaluation and mask encoding against pycocotools, with the results compared bit for bit.

    python -m benchmarks.perf.evaluation [--images 5000] [--detections 100] [--json]

Evaluation: generated boxes of 80 classes with crowds, tied scores, empty images and empty classes; from detections to
the twelve numbers, in both metric backends. Encoding: masks of 640 x 480 as RLE, ours (the bounding box of each mask)
against pycocotools on whole masks. Goal: evaluation at least 10 times faster than pycocotools. Bootstrap: the six APs
of 1,000 datasets drawn from the same images, matching included. Goal: 60 seconds for 5,000 images on two threads.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from benchmarks.accuracy import uncertainty
from benchmarks.datasets import coco_metric, coco_results, resampling
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import ImageId, MetricConfig
from benchmarks.perf.printed import numbers
from zoo.coco_format.results import encode_masks

T = TypeVar("T")
CLASSES, WIDTH, HEIGHT = 80, 640, 480


def main() -> None:
    """Measure, and print the table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--detections", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = evaluation(args.images, args.detections) | encoding() | bootstrap(args.images, args.detections)
    print(numbers(result, args.json, width=28))


def evaluation(images: int, detections: int) -> dict[str, object]:
    """Seconds of both metric backends, their ratio, and whether all twelve numbers are the same double."""
    ground_truth, result = generate(images, detections)
    numbers, seconds = {}, {}
    for metric_backend in ("hotcoco", "pycocotools"):
        seconds[metric_backend], numbers[metric_backend] = timed(
            partial(box_numbers, ground_truth, result, metric_backend)
        )
    return {
        "evaluate: pycocotools, s": round(seconds["pycocotools"], 3),
        "evaluate: ours, s": round(seconds["hotcoco"], 3),
        "evaluate: ratio": round(seconds["pycocotools"] / seconds["hotcoco"], 1),
        "evaluate: bit-equal": numbers["pycocotools"] == numbers["hotcoco"],
    }


def box_numbers(
    ground_truth: dict[str, Any], result: dict[ImageId, Predictions], metric_backend: str
) -> dict[str, float]:
    """COCO's twelve numbers."""
    ids = [row["id"] for row in ground_truth["categories"]]
    results = coco_results.source("box", result, ids)
    return coco_metric.evaluate(ground_truth, results, "box", list(result), ids, metric_backend=metric_backend)


def bootstrap(images: int, detections: int) -> dict[str, object]:
    """Seconds for the replicates of all APs, and whether the APs over all images are those of the metric."""
    ground_truth, result = generate(images, detections)
    ids = [row["id"] for row in ground_truth["categories"]]
    numbers = box_numbers(ground_truth, result, "hotcoco")
    source = partial(coco_results.source, predictions=result, category_ids=ids)
    seconds, drawn = timed(lambda: resampling.resample(ground_truth, source, list(result), ids, MetricConfig()))
    return {
        f"bootstrap: {resampling.REPLICATES} replicates, s": round(seconds, 1),
        "bootstrap: equal over all images": not uncertainty.disagreeing(numbers, drawn.all_images),
    }


def encoding(count: int = 100, rounds: int = 5) -> dict[str, object]:
    """Seconds for the masks of one image, best of some rounds in turns, and whether the strings are the same."""
    masks = discs(count)
    ours, theirs, seconds = [], [], {"ours": [], "pycocotools": []}  # type: ignore[var-annotated]
    for _ in range(rounds):
        spent, ours = timed(lambda: encode_masks(masks))
        seconds["ours"].append(spent)
        spent, theirs = timed(lambda: [whole_mask(mask) for mask in masks])
        seconds["pycocotools"].append(spent)
    fast, slow = min(seconds["ours"]), min(seconds["pycocotools"])
    return {
        "encode: pycocotools, s": round(slow, 4),
        "encode: ours, s": round(fast, 4),
        "encode: ratio": round(slow / fast, 1),
        "encode: equal": ours == theirs,
    }


def whole_mask(mask: Tensor) -> dict[str, Any]:
    """A mask (H, W) by way of a copy of it in column order."""
    rle = coco_mask.encode(np.asfortranarray(mask.numpy().astype(np.uint8)))
    return {"size": list(rle["size"]), "counts": rle["counts"].decode("ascii")}


def timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds, and the result."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def discs(count: int) -> Tensor:
    """(count, H, W) discs of all sizes, as detectors find objects."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    centers = random.uniform((0, 0), (HEIGHT, WIDTH), (count, 2))
    radii = np.exp(random.uniform(np.log(8), np.log(160), count))
    return torch.from_numpy(np.stack([(y - cy) ** 2 + (x - cx) ** 2 < r**2 for (cy, cx), r in zip(centers, radii)]))


def generate(count: int, detections: int) -> tuple[dict[str, Any], dict[ImageId, Predictions]]:
    """Annotations, and detections of which half lie near an object."""
    random = np.random.default_rng(0)
    annotations: list[dict[str, Any]] = []
    result: dict[ImageId, Predictions] = {}
    for image_id in range(1, count + 1):
        boxes, labels = draw(random, int(random.integers(0, 15)))
        for box, label in zip(boxes.tolist(), labels.tolist()):
            x1, y1, x2, y2 = box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": label + 1,
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1) * 0.8,
                    "iscrowd": int(random.random() < 0.03),
                }
            )
        result[image_id] = detect(random, boxes, labels, 0 if random.random() < 0.03 else detections)
    images = [{"id": i, "file_name": f"{i}.jpg", "width": WIDTH, "height": HEIGHT} for i in result]
    categories = [{"id": i + 1, "name": str(i)} for i in range(CLASSES)]
    return {"images": images, "annotations": annotations, "categories": categories}, result


def draw(random: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (count, 4) xyxy and labels, a few classes often and the last two never."""
    sides = np.exp(random.uniform(np.log(5), np.log(400), (count, 2)))
    corner = random.uniform(0, 1, (count, 2)) * np.maximum((WIDTH, HEIGHT) - sides / 2, 1)
    labels = np.minimum(random.exponential(8, count).astype(int), CLASSES - 3)
    return np.concatenate([corner, corner + sides], 1), labels


def detect(random: np.random.Generator, boxes: np.ndarray, labels: np.ndarray, count: int) -> Predictions:
    """`count` detections, best first, some of equal score."""
    guesses, kinds = draw(random, count)
    if len(boxes):
        near = np.flatnonzero(random.random(count) < 0.5)
        which = random.integers(len(boxes), size=len(near))
        sides = np.tile(boxes[which, 2:] - boxes[which, :2], 2)
        guesses[near] = boxes[which] + random.normal(0, 0.08, (len(near), 4)) * sides
        kinds[near] = labels[which]
    scores = np.sort(np.round(random.beta(1, 3, count), 2))[::-1]
    return Predictions(guesses.astype(np.float32), scores.astype(np.float32), kinds)


if __name__ == "__main__":
    main()
