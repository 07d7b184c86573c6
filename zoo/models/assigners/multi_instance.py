"""Assignment of several objects to one region (Chu et al., CrowdDet, 2020, section 3.2)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo.models.box_ops import pairwise_iof, pairwise_iou
from zoo.models.targets import GroundTruth

CROWD = -1


@dataclass
class Sets:
    """For each of P regions the objects that it stands for, best first.

    boxes: (P, k, 4). labels: (P, k), 1 for an object, 0 for background, -1 for a crowd, which counts as neither.
    """

    boxes: Tensor
    labels: Tensor


class MultiInstanceAssigner:
    """Every region gets the `num_instance` objects that it overlaps most, each from `pos_iou_thr` on.

    Where a crowd's box covers more of a region than a poor object does, the crowd is taken. Further arguments are those
    of `MaxIoUAssigner` and have no effect here.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float,
        num_instance: int = 2,
        min_pos_iou: float = 0.0,
        match_low_quality: bool = False,
        ignore_iof_thr: float = -1,
        gpu_assign_thr: int = -1,
        iou_calculator: Any = None,
    ) -> None:
        self.positive_from, self.negative_below, self.count = pos_iou_thr, neg_iou_thr, num_instance

    def assign(self, regions: Tensor, ground_truth: GroundTruth) -> Sets:
        """Match regions (P, 4) with the objects and crowds of an image."""
        crowds = ground_truth.boxes.new_zeros((0, 4)) if ground_truth.ignored is None else ground_truth.ignored
        real, real_owner = most(pairwise_iou(regions, ground_truth.boxes), self.count)
        crowd, crowd_owner = most(pairwise_iof(regions, crowds), self.count)
        boxes = torch.cat([ground_truth.boxes, crowds, crowds.new_zeros((1, 4))])
        taken = (real < self.positive_from) & (crowd > real)
        overlaps = torch.where(taken, crowd, real)
        owners = torch.where(taken, crowd_owner + len(ground_truth), real_owner)
        labels = torch.where(taken, CROWD, (overlaps >= self.positive_from).long())
        return Sets(boxes[owners], labels.masked_fill(overlaps < self.negative_below, 0))


def most(overlaps: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The `count` largest of each row's overlaps (P, M), largest first, and their columns; zero where M is smaller."""
    missing = max(count - overlaps.shape[1], 0)
    overlaps = torch.cat([overlaps, overlaps.new_zeros(len(overlaps), missing)], dim=1)
    result, columns = overlaps.sort(dim=1, descending=True)
    return result[:, :count], columns[:, :count].clamp(max=max(overlaps.shape[1] - missing - 1, 0))
