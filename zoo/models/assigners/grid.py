"""Assignment by the cell that an object's center lies in (Redmon and Farhadi, YOLOv3, 2018, section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.box_ops import pairwise_iou
from zoo.models.targets import BACKGROUND, IGNORED, Assignment, GroundTruth


class GridAssigner:
    """An object belongs to the anchor that overlaps it most, of those in its center's cells.

    pos_iou_thr: anchors there that overlap it by more than this belong to it, too. neg_iou_thr: anchors anywhere that
    overlap no object by more than this are background. min_pos_iou: least overlap of an object's best anchor.
    gt_max_assign_all: all anchors of equal best overlap, not the first of them.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
    ) -> None:
        self.positive_above, self.min_positive, self.all_best = pos_iou_thr, min_pos_iou, gt_max_assign_all
        self.negative = (-1.0, neg_iou_thr) if isinstance(neg_iou_thr, (int, float)) else tuple(neg_iou_thr)

    def assign(self, boxes: Tensor, responsible: Tensor, ground_truth: GroundTruth) -> Assignment:
        """Match anchors (P, 4), of which some are `responsible` (P,), with the objects of an image."""
        index = torch.full((len(boxes),), IGNORED, device=boxes.device)
        if len(ground_truth) == 0:
            return Assignment(index.fill_(BACKGROUND), boxes.new_zeros(len(boxes)))
        overlaps = pairwise_iou(ground_truth.boxes, boxes)
        best = overlaps.max(dim=0).values
        index[(best > self.negative[0]) & (best <= self.negative[1])] = BACKGROUND
        overlaps[:, ~responsible] = -1
        best, owner = overlaps.max(dim=0)
        positive = (best > self.positive_above) & responsible
        index = torch.where(positive, owner, index)
        largest, prior = overlaps.max(dim=1)
        enough, numbers = largest > self.min_positive, torch.arange(len(index), device=index.device)
        for i in range(len(overlaps)):  # without asking a GPU which objects have enough
            chosen = (overlaps[i] == largest[i]) & responsible if self.all_best else numbers == prior[i]
            index = torch.where(chosen & enough[i], i, index)
        return Assignment(index, best)
