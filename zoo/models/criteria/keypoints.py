"""Targets and loss of heatmaps of keypoints (He et al., Mask R-CNN, 2017, section 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.criteria.protocols import KeypointHead
from zoo.models.targets import GroundTruth, Samples


def keypoint_losses(
    head: KeypointHead, heatmaps: Tensor, samples: Sequence[Samples], ground_truths: Sequence[GroundTruth]
) -> dict[str, Tensor]:
    """`loss_keypoint`: cross-entropy over all cells of a heatmap, mean over the visible keypoints inside the regions.

    heatmaps: (K, P, S, S) logits of the positive regions of all images. Zero where no keypoint is visible.
    """
    cells, valid = keypoint_targets(samples, ground_truths, heatmaps.shape[1], heatmaps.shape[-1])
    chosen = valid.flatten().nonzero().squeeze(1)
    if not len(chosen):
        return {"loss_keypoint": heatmaps.sum() * 0}
    logits = heatmaps.flatten(2).flatten(0, 1)[chosen]
    return {"loss_keypoint": F.cross_entropy(logits, cells.flatten()[chosen]) * head.loss_weight}


def keypoint_targets(
    samples: Sequence[Samples], ground_truths: Sequence[GroundTruth], count: int, side: int
) -> tuple[Tensor, Tensor]:
    """Cell indices (K, P) in heatmaps of `side` x `side`, and (K, P) whether a keypoint is visible and inside.

    Raises UsageError where an image with objects has no keypoints, or another number of them.
    """
    cells, valid = [], []
    for s, ground_truth in zip(samples, ground_truths):
        points = ground_truth.keypoints
        if points is None and len(ground_truth):
            raise UsageError("this network learns keypoints: the targets need `keypoints` (M, P, 3).")
        if points is None:
            points = ground_truth.boxes.new_zeros(0, count, 3)
        if points.shape[1] != count:
            raise UsageError(f"the targets have {points.shape[1]} keypoints per object, the network has {count}.")
        cell, inside = cells_of(points[s.matched], s.boxes[s.positive], side)
        cells.append(cell)
        valid.append(inside)
    return torch.cat(cells), torch.cat(valid)


def cells_of(points: Tensor, boxes: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Cell (K, P) of each keypoint in its box's grid, and (K, P) whether it is visible and inside.

    points: (K, P, 3) as x, y, visibility. boxes: (K, 4). A point on the right or lower edge is in the last cell.
    """
    corners, scale = boxes[:, None, :2], side / (boxes[:, 2:] - boxes[:, :2])[:, None]
    cells_xy = ((points[..., :2] - corners) * scale).floor().long()
    cells_xy = torch.where(points[..., :2] == boxes[:, None, 2:], side - 1, cells_xy)
    inside = ((cells_xy >= 0) & (cells_xy < side)).all(dim=-1) & (points[..., 2] > 0)
    return (cells_xy[..., 1] * side + cells_xy[..., 0]) * inside, inside
