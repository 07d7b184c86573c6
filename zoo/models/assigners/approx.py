"""Assignment by the best of several anchors around each cell (Wang et al., Guided Anchoring, 2019, section 3.5)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.box_ops import pairwise_iou
from zoo.models.targets import Assignment, GroundTruth


class ApproxMaxIoUAssigner(MaxIoUAssigner):
    """As by overlap, but a cell overlaps an object as much as the best of its approximating anchors does."""

    def assign_groups(self, approxs: Tensor, squares: Tensor, ground_truth: GroundTruth) -> Assignment:
        """Match cells, with anchors (P, A, 4) and a square (P, 4) each, with the objects of an image."""
        overlaps = self.overlaps(squares, ground_truth, squares.device)
        if len(ground_truth) and len(squares):
            best = pairwise_iou(ground_truth.boxes, approxs.flatten(0, 1)).unflatten(1, approxs.shape[:2]).amax(dim=2)
            overlaps = torch.where(overlaps < 0, overlaps, best)
        return self.match(overlaps)
