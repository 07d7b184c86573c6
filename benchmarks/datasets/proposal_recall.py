"""Recall of proposals with the matching of MMDetection's `proposal_fast`, by which it published its AR@1000.

Boxes and proposals are paired best overlap first, whatever the scores; crowds are left out. COCO's own recall goes
through the proposals by score, at each threshold anew, so the two differ by some tenths of a point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from benchmarks.datasets.mean_ap import Floats, overlaps
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import ImageId

LIMITS = (100, 300, 1000)
THRESHOLDS = np.linspace(0.5, 0.95, 10)


def evaluate(ground_truth: Mapping[str, Any], predictions: Mapping[Any, Predictions]) -> dict[str, float]:
    """greedy_ar_100, greedy_ar_300, greedy_ar_1000 over the images in `found`; -1 without any box.

    ground truth: a COCO annotation document.
    """
    return weighing(ground_truth, predictions)(np.ones(len(predictions)))


def weighing(
    ground_truth: Mapping[str, Any], predictions: Mapping[Any, Predictions]
) -> Callable[[Floats], dict[str, float]]:
    """The same by weights of the images."""
    boxes: dict[ImageId, list[list[float]]] = {image_id: [] for image_id in predictions}
    for row in ground_truth["annotations"]:
        if row["image_id"] in boxes and not row["iscrowd"] and not row.get("ignore"):
            x, y, w, h = row["bbox"]
            boxes[row["image_id"]].append([x, y, x + w, y + h])
    counts = np.array([len(boxes[i]) for i in predictions])
    reached = {}
    for limit in LIMITS:
        pairs = [
            pair(np.array(boxes[i], np.float32).reshape(-1, 4), one.boxes[:limit]) for i, one in predictions.items()
        ]
        rows = [(best[:, None] >= THRESHOLDS).sum(0) for best in pairs]
        reached[limit] = np.array(rows, np.float64).reshape(-1, len(THRESHOLDS))

    def weigh(weights: Floats) -> dict[str, float]:
        total = float(counts @ weights)
        return {
            f"greedy_ar_{n}": float((weights @ rows).mean() / total) if total else -1.0 for n, rows in reached.items()
        }

    return weigh


def pair(boxes: Floats, proposals: Floats) -> Floats:
    """(M,) overlaps of the pairs made of boxes (M, 4) and proposals (N, 4), largest first; 0 for boxes without one."""
    shared, best = overlaps(boxes, proposals), np.zeros(len(boxes))
    for k in range(min(shared.shape)):
        row, column = np.unravel_index(shared.argmax(), shared.shape)
        best[k] = shared[row, column]
        shared[row], shared[:, column] = -1, -1
    return best
