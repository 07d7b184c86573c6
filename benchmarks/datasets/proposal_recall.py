"""Recall of proposals with the matching of MMDetection's `proposal_fast`, by which it published its AR@1000.

Boxes and proposals are paired best overlap first, whatever the scores; crowds are left out. COCO's own recall goes
through the proposals by score, at each threshold anew, so the two differ by some tenths of a point.
"""

from __future__ import annotations

from collections.abc import Mapping
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
    boxes: dict[ImageId, list[list[float]]] = {image_id: [] for image_id in predictions}
    for row in ground_truth["annotations"]:
        if row["image_id"] in boxes and not row["iscrowd"] and not row.get("ignore"):
            x, y, w, h = row["bbox"]
            boxes[row["image_id"]].append([x, y, x + w, y + h])
    numbers = {}
    for limit in LIMITS:
        best = [
            pair(np.array(boxes[i], np.float32).reshape(-1, 4), one.boxes[:limit]) for i, one in predictions.items()
        ]
        together = np.concatenate([*best, np.zeros(0)])
        recalls = [(together >= threshold).mean() for threshold in THRESHOLDS] if len(together) else [-1.0]
        numbers[f"greedy_ar_{limit}"] = float(np.mean(recalls))
    return numbers


def pair(boxes: Floats, proposals: Floats) -> Floats:
    """(M,) overlaps of the pairs made of boxes (M, 4) and proposals (N, 4), largest first; 0 for boxes without one."""
    shared, best = overlaps(boxes, proposals), np.zeros(len(boxes))
    for k in range(min(shared.shape)):
        row, column = np.unravel_index(shared.argmax(), shared.shape)
        best[k] = shared[row, column]
        shared[row], shared[:, column] = -1, -1
    return best
