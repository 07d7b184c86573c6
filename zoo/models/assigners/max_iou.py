"""Assignment by overlap (Ren et al., Faster R-CNN, 2015, section 3.1.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.errors import BuildError
from zoo.models.box_ops import pairwise_iof, pairwise_iou
from zoo.models.targets import BACKGROUND, IGNORED, Assignment, GroundTruth

PLAIN = {"type": "BboxOverlaps2D"}


class MaxIoUAssigner:
    """A prior belongs to the object that it overlaps most, if by at least `pos_iou_thr`.

    Below `neg_iou_thr` (or between two values) it is background, in between it is ignored. match_low_quality: an object
    also gets the priors that overlap it most (all of equal overlap with `gt_max_assign_all`), from `min_pos_iou` on.
    ignore_iof_thr: priors that lie in a crowd's box to more than this share are ignored; negative for never.
    gpu_assign_thr: with more objects than this, overlaps are computed on the CPU. iou_calculator: no other is known.
    keeps_owner: such a prior of low quality learns the object that it overlaps most itself, which may be another one,
    as in Detectron2 and torchvision.
    """

    def __init__(
        self,
        pos_iou_thr: float,
        neg_iou_thr: float | Sequence[float],
        min_pos_iou: float = 0.0,
        gt_max_assign_all: bool = True,
        ignore_iof_thr: float = -1,
        ignore_wrt_candidates: bool = True,
        match_low_quality: bool = True,
        gpu_assign_thr: int = -1,
        iou_calculator: Mapping[str, Any] = PLAIN,
        keeps_owner: bool = False,
    ) -> None:
        if iou_calculator != PLAIN:
            raise BuildError(f"MaxIoUAssigner knows no overlaps but {PLAIN['type']}, not {iou_calculator}")
        self.positive_from, self.min_positive = pos_iou_thr, min_pos_iou
        self.negative = (0.0, neg_iou_thr) if isinstance(neg_iou_thr, (int, float)) else tuple(neg_iou_thr)
        self.match_low_quality, self.all_best = match_low_quality, gt_max_assign_all
        self.ignore_from, self.ignore_by_prior = ignore_iof_thr, ignore_wrt_candidates
        self.cpu_from, self.keeps_owner = gpu_assign_thr, keeps_owner

    def assign(self, boxes: Tensor, ground_truth: GroundTruth) -> Assignment:
        """Match priors (P, 4) with the objects of an image; with very many objects on the CPU, to save memory."""
        crowded = 0 < self.cpu_from < len(ground_truth)
        home = torch.device("cpu") if crowded else boxes.device
        overlaps = self.overlaps(boxes.to(home), ground_truth, home)
        match = self.match(overlaps)
        return Assignment(match.index.to(boxes.device), match.overlaps.to(boxes.device))

    def overlaps(self, boxes: Tensor, ground_truth: GroundTruth, home: torch.device) -> Tensor:
        """IoU (M, P); -1 for priors inside crowds."""
        overlaps = pairwise_iou(ground_truth.boxes.to(home), boxes)
        if self.ignore_from > 0 and ground_truth.ignored is not None and len(ground_truth.ignored) and len(boxes):
            crowds = ground_truth.ignored.to(home)
            inside = pairwise_iof(boxes, crowds) if self.ignore_by_prior else pairwise_iof(crowds, boxes).T
            overlaps[:, inside.max(dim=1).values > self.ignore_from] = -1
        return overlaps

    def match(self, overlaps: Tensor) -> Assignment:
        """The assignment for overlaps (M, P)."""
        objects, priors = overlaps.shape
        index = torch.full((priors,), IGNORED, device=overlaps.device)
        if objects == 0 or priors == 0:
            return Assignment(index.fill_(BACKGROUND), overlaps.new_zeros(priors))
        best, owner = overlaps.max(dim=0)
        index[(best >= self.negative[0]) & (best < self.negative[1])] = BACKGROUND
        positive = best >= self.positive_from
        index = torch.where(positive, owner, index)
        if self.match_low_quality:
            index = self.give_every_object_its_best(overlaps, index, owner)
        return Assignment(index, best)

    def give_every_object_its_best(self, overlaps: Tensor, index: Tensor, owner: Tensor) -> Tensor:
        """Low-quality matches; of objects that share a best prior, the last one gets it, as in the reference.

        index: (P,), the object that each prior has. owner: (P,), the object that it overlaps most.
        """
        best, prior = overlaps.max(dim=1)
        enough, numbers = best >= self.min_positive, torch.arange(len(index), device=index.device)
        for i in range(len(overlaps)):  # without asking a GPU which objects have enough
            chosen = overlaps[i] == best[i] if self.all_best else numbers == prior[i]
            index = torch.where(chosen & enough[i], owner if self.keeps_owner else i, index)
        return index
