"""One-to-one assignment at the lowest total cost (Carion et al., DETR, 2020, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torchvision.ops import box_convert

from zoo.models.build import component
from zoo.models.targets import BACKGROUND, Assignment, GroundTruth


class HungarianAssigner:
    """Each object gets the one query that makes the sum of all costs lowest; the other queries are background."""

    def __init__(self, cls_cost: Mapping[str, Any], reg_cost: Mapping[str, Any], iou_cost: Mapping[str, Any]) -> None:
        self.cls_cost, self.reg_cost, self.iou_cost = component(cls_cost), component(reg_cost), component(iou_cost)

    @torch.no_grad()
    def assign(self, logits: Tensor, boxes: Tensor, ground_truth: GroundTruth, size: tuple[int, int]) -> Assignment:
        """Match queries with the objects of an image of (h, w).

        logits: (Q, C). boxes: (Q, 4) cxcywh as shares of the image.
        """
        scale = extent(size, boxes)
        cost = self.cls_cost(logits, ground_truth.labels) + self.reg_cost(boxes, ground_truth.boxes / scale)
        cost = cost + self.iou_cost(box_convert(boxes, "cxcywh", "xyxy") * scale, ground_truth.boxes)
        return Assignment(cheapest(cost), boxes.new_zeros(len(boxes)))


def cheapest(cost: Tensor) -> Tensor:
    """For each of Q queries the index of its object, or BACKGROUND. cost: (Q, M)."""
    queries, objects = (torch.from_numpy(x).to(cost.device) for x in linear_sum_assignment(cost.cpu().numpy()))
    index = torch.full((len(cost),), BACKGROUND, device=cost.device)
    index[queries] = objects
    return index


def extent(size: tuple[int, int], like: Tensor) -> Tensor:
    """(w, h, w, h) of an image of (h, w)."""
    return like.new_tensor([size[1], size[0], size[1], size[0]])


class MaskHungarianAssigner:
    """The same for queries with masks (Cheng et al., MaskFormer, 2021, section 3.2)."""

    def __init__(self, cls_cost: Mapping[str, Any], mask_cost: Mapping[str, Any], dice_cost: Mapping[str, Any]) -> None:
        self.cls_cost, self.mask_cost, self.dice_cost = component(cls_cost), component(mask_cost), component(dice_cost)

    @torch.no_grad()
    def assign(self, logits: Tensor, labels: Tensor, masks: Tensor, targets: Tensor) -> Tensor:
        """For each query the index of its object, or BACKGROUND, (Q,).

        logits: (Q, C). labels: (M,). masks: (Q, P) logits and targets: (M, P), at the same pixels or points.
        """
        cost = self.cls_cost(logits, labels) + self.mask_cost(masks, targets)
        return cheapest(cost + self.dice_cost(masks, targets))
