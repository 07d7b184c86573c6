"""One-to-one assignment at the lowest total cost (Carion et al., DETR, 2020, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from zoo.models.box_ops import box_convert
from zoo.models.build import component
from zoo.models.layers.constants import constant
from zoo.models.layers.precision import at_least_float32
from zoo.models.layers.transfer import on_device, on_host
from zoo.models.targets import GroundTruth, Pairs

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
    """What it costs that a query finds an object; `cheapest` finds the pairs that make the sum of all costs lowest.

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

    def cost(self, logits: Tensor, boxes: Tensor, ground_truth: GroundTruth, size: tuple[int, int]) -> Tensor:
        """What it costs to match each query with each object, (Q, M)."""
        scale = extent(size, boxes)
        cost: Tensor = self.cls_cost(logits, ground_truth.labels) + self.reg_cost(boxes, ground_truth.boxes / scale)
        return cost + self.iou_cost(box_convert(boxes, "cxcywh", "xyxy") * scale, ground_truth.boxes)


def cheapest(costs: Sequence[Tensor], repeats: Sequence[int] | None = None) -> list[Pairs]:
    """For each matrix (Q, M) of costs the queries and objects that are paired, at the lowest sum.

    repeats: so many queries for each object instead of one, fewer where there are not enough (Cai et al., Align-DETR,
    2023). A GPU is waited for once, however many layers and images there are.
    """
    times = repeats or [1] * len(costs)
    pairs = [torch.from_numpy(solved(cost, n)) for cost, n in zip(on_host(costs), times)]
    return [Pairs(*pair) for pair in on_device(pairs, costs[0].device)] if pairs else []


def solved(cost: Tensor, repeats: int) -> NDArray[np.int64]:
    """Queries and their objects (2, K), queries rising, at the lowest sum of costs (Q, M)."""
    objects = cost.shape[1]
    times = max(1, min(repeats, len(cost) // objects)) if objects else 1
    queries, columns = linear_sum_assignment(at_least_float32(cost).repeat(1, times).numpy())
    return np.stack([queries, columns % max(objects, 1)])


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
    def cost(self, logits: Tensor, labels: Tensor, masks: Tensor, targets: Tensor) -> Tensor:
        """What it costs to match each query with each object, (Q, M).

        logits: (Q, C). labels: (M,). masks: (Q, P) logits and targets: (M, P), at the same pixels or points.
        """
        cost: Tensor = self.cls_cost(logits, labels) + self.mask_cost(masks, targets)
        return cost + self.dice_cost(masks, targets)
