"""How far two sets of detections are apart. A faster network that detects something else is not faster."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.optimize import linear_sum_assignment
from torchvision.ops import box_iou

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


def compare(reference: Sequence[Detections], found: Sequence[Detections]) -> Agreement:
    """Match the detections of each image one to one, by the highest total IoU among equal labels."""
    total = hits = added = 0
    score = box = 0.0
    for want, have in zip(reference, found, strict=True):
        ours, theirs = match(want, have)
        total, hits, added = total + len(want), hits + len(ours), added + len(have) - len(ours)
        if len(ours):
            score = max(score, float((want.scores[ours] - have.scores[theirs]).abs().max()))
            box = max(box, float((want.boxes[ours] - have.boxes[theirs]).abs().max()))
    return Agreement(total, hits / total if total else 1.0, score, box, added)


def match(want: Detections, have: Detections) -> tuple[torch.Tensor, torch.Tensor]:
    """Indices of matched detections in both."""
    iou = box_iou(want.boxes.double(), have.boxes.double())
    same = want.labels[:, None] == have.labels[None]
    # Equal boxes without area (IoU 0) are matched by their corners; among equal IoUs the nearer score wins.
    iou = torch.where(torch.cdist(want.boxes.double(), have.boxes.double(), p=float("inf")) < 0.01, 1.0, iou)
    gap = (want.scores[:, None] - have.scores[None]).abs().double()
    value = torch.where(same & (iou >= MATCH_IOU), iou - 1e-3 * gap, 0.0)
    ours, theirs = (torch.from_numpy(index) for index in linear_sum_assignment(value.numpy(), maximize=True))
    good = value[ours, theirs] > 0
    return ours[good], theirs[good]
