"""How far two sets of detections are apart. A faster network that detects something else is not faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from zoo.structures import Detections

MATCH_IOU = 0.5


@dataclass(frozen=True)
class Agreement:
    """detections: in the reference. matched: share of them found again, same label and IoU of at least 0.5.

    score_difference: the largest over matched pairs. box_difference: likewise, in pixels. added: found without partner.
    """

    detections: int
    matched: float
    score_difference: float
    box_difference: float
    added: int


class Boxes(NamedTuple):
    """Detections of one image as arrays: boxes (K, 4) xyxy, scores (K,), labels (K,)."""

    boxes: NDArray[np.floating]
    scores: NDArray[np.floating]
    labels: NDArray[np.integer]


def compare(reference: Sequence[Detections], detections: Sequence[Detections]) -> Agreement:
    """Match the detections of each image one to one, by the highest total IoU among equal labels."""
    total = hits = added = 0
    score = box = 0.0
    for want, have in zip(map(arrays, reference), map(arrays, detections), strict=True):
        ours, theirs = match(want, have)
        total, hits, added = total + len(want.scores), hits + len(ours), added + len(have.scores) - len(ours)
        if len(ours):
            score = max(score, float(np.abs(want.scores[ours] - have.scores[theirs]).max()))
            box = max(box, float(np.abs(want.boxes[ours] - have.boxes[theirs]).max()))
    return Agreement(total, hits / total if total else 1.0, score, box, added)


def arrays(detections: Detections) -> Boxes:
    """Detections on the CPU as arrays."""
    return Boxes(detections.boxes.numpy(), detections.scores.numpy(), detections.labels.numpy())


def match(want: Boxes, have: Boxes) -> tuple[NDArray[np.integer], NDArray[np.integer]]:
    """Indices of matched detections in both."""
    from scipy.optimize import linear_sum_assignment

    same = want.labels[:, None] == have.labels[None]
    gap = np.abs(want.scores[:, None] - have.scores[None]).astype(np.float64)
    iou = overlaps(want.boxes.astype(np.float64), have.boxes.astype(np.float64))
    # Among equal IoUs the nearer score wins.
    value = np.where(same & (iou >= MATCH_IOU), iou - 1e-3 * gap, 0.0)
    ours, theirs = linear_sum_assignment(value, maximize=True)
    good = value[ours, theirs] > 0
    return ours[good], theirs[good]


def overlaps(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """IoU of boxes (N, 4) and (M, 4), xyxy: (N, M). 1 for boxes that are equal but have no area."""
    corners = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (corners[1] - corners[0]).clip(min=0).prod(axis=2)
    union = (a[:, 2:] - a[:, :2]).prod(axis=1)[:, None] + (b[:, 2:] - b[:, :2]).prod(axis=1)[None] - shared
    equal = np.abs(a[:, None] - b[None]).max(axis=2) < 0.01
    return np.where(equal, 1.0, np.divide(shared, union, out=np.zeros_like(shared), where=union != 0))
