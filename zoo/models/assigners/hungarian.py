"""One-to-one assignment at the lowest total cost (Carion et al., DETR, 2020, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert

from zoo.models.build import component
from zoo.models.layers.constants import constant
from zoo.models.targets import BACKGROUND, Assignment, GroundTruth

ROLES = {"ClassificationCost": "cls", "BBoxL1Cost": "reg", "IoUCost": "iou", "DiceCost": "dice"}
"""What a cost of 3.x's list compares; focal and cross-entropy costs do so with classes or with masks."""


def roles(match_costs: Sequence[Mapping[str, Any]] | None) -> dict[str, Mapping[str, Any]]:
    """3.x's list of costs by what they compare, as 2.x names them: `cls_cost` and so on."""
    return {f"{role(cost)}_cost": cost for cost in match_costs or ()}


def role(cost: Mapping[str, Any]) -> str:
    """What a cost compares."""
    on_masks = cost["type"] == "CrossEntropyLossCost" or cost.get("binary_input", False)
    return "mask" if on_masks else ROLES.get(cost["type"], "cls")


class HungarianAssigner:
    """Each object gets the one query that makes the sum of all costs lowest; the other queries are background.

    match_costs: the three costs as a list, as 3.x describes them.
    """

    def __init__(
        self,
        cls_cost: Mapping[str, Any] | None = None,
        reg_cost: Mapping[str, Any] | None = None,
        iou_cost: Mapping[str, Any] | None = None,
        match_costs: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        costs = {"cls_cost": cls_cost, "reg_cost": reg_cost, "iou_cost": iou_cost, **roles(match_costs)}
        self.cls_cost, self.reg_cost, self.iou_cost = (component(cost) for cost in costs.values() if cost)

    @torch.no_grad()
    def assign(self, logits: Tensor, boxes: Tensor, ground_truth: GroundTruth, size: tuple[int, int]) -> Assignment:
        """Match queries with the objects of an image of (h, w).

        logits: (Q, C). boxes: (Q, 4) cxcywh as shares of the image.
        """
        return Assignment(cheapest(self.cost(logits, boxes, ground_truth, size)), boxes.new_zeros(len(boxes)))

    def cost(self, logits: Tensor, boxes: Tensor, ground_truth: GroundTruth, size: tuple[int, int]) -> Tensor:
        """What it costs to match each query with each object, (Q, M)."""
        scale = extent(size, boxes)
        cost: Tensor = self.cls_cost(logits, ground_truth.labels) + self.reg_cost(boxes, ground_truth.boxes / scale)
        return cost + self.iou_cost(box_convert(boxes, "cxcywh", "xyxy") * scale, ground_truth.boxes)


class MixedHungarianAssigner(HungarianAssigner):
    """The same, where each object may get several queries (Cai et al., Align-DETR, 2023)."""

    @torch.no_grad()
    def assign(
        self, logits: Tensor, boxes: Tensor, ground_truth: GroundTruth, size: tuple[int, int], repeats: int = 1
    ) -> Assignment:
        """Match `repeats` queries with each object, fewer where there are not enough."""
        objects = len(ground_truth)
        if objects == 0:
            return Assignment(torch.full((len(boxes),), BACKGROUND, device=boxes.device), boxes.new_zeros(len(boxes)))
        repeats = max(1, min(repeats, len(boxes) // objects))
        index = cheapest(self.cost(logits, boxes, ground_truth, size).repeat(1, repeats))
        return Assignment(torch.where(index >= 0, index % objects, index), boxes.new_zeros(len(boxes)))


def cheapest(cost: Tensor) -> Tensor:
    """For each of Q queries the index of its object, or BACKGROUND. cost: (Q, M)."""
    queries, objects = map(torch.from_numpy, linear_sum_assignment(cost.cpu().numpy()))
    index = torch.full((len(cost),), BACKGROUND)
    index[queries] = objects
    return index.to(cost.device, non_blocking=True)


def extent(size: tuple[int, int], like: Tensor) -> Tensor:
    """(w, h, w, h) of an image of (h, w)."""
    return constant((size[1], size[0], size[1], size[0]), like)


class MaskHungarianAssigner:
    """The same for queries with masks (Cheng et al., MaskFormer, 2021, section 3.2)."""

    def __init__(
        self,
        cls_cost: Mapping[str, Any] | None = None,
        mask_cost: Mapping[str, Any] | None = None,
        dice_cost: Mapping[str, Any] | None = None,
        match_costs: Sequence[Mapping[str, Any]] | None = None,
    ) -> None:
        costs = {"cls_cost": cls_cost, "mask_cost": mask_cost, "dice_cost": dice_cost, **roles(match_costs)}
        self.cls_cost, self.mask_cost, self.dice_cost = (component(cost) for cost in costs.values() if cost)

    @torch.no_grad()
    def assign(self, logits: Tensor, labels: Tensor, masks: Tensor, targets: Tensor) -> Tensor:
        """For each query the index of its object, or BACKGROUND, (Q,).

        logits: (Q, C). labels: (M,). masks: (Q, P) logits and targets: (M, P), at the same pixels or points.
        """
        cost = self.cls_cost(logits, labels) + self.mask_cost(masks, targets)
        return cheapest(cost + self.dice_cost(masks, targets))
