"""Assignment of refined boxes to objects, as many as their overlaps say (Chen et al., DiffusionDet, 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.assigners.hungarian import HungarianAssigner, extent
from zoo.models.assigners.sim_ota import choose
from zoo.models.box_ops import box_convert, pairwise_iou
from zoo.models.layers.transfer import on_device, on_host
from zoo.models.targets import GroundTruth, Pairs

OUTSIDE, TAKEN = 1e4, 1e5


class DiffusionDetMatcher(HungarianAssigner):
    """Each object takes the cheapest boxes, as many as its best overlaps sum up to, and at least one.

    center_radius: a box is a candidate within so many sizes of the object. candidate_topk: how many overlaps are
    summed.
    """

    def __init__(
        self, match_costs: Sequence[Mapping[str, Any]], center_radius: float = 2.5, candidate_topk: int = 5
    ) -> None:
        super().__init__(match_costs=match_costs)
        self.radius, self.topk = center_radius, candidate_topk

    @torch.no_grad()
    def match(self, images: Sequence[tuple[Tensor, Tensor, GroundTruth, tuple[int, int]]]) -> list[Pairs]:
        """The pairs of box and object in each image; a GPU is waited for once. images: what `prices` takes."""
        pairs = [self.choose(*prices) for prices in on_host([self.prices(*image) for image in images])]
        return [Pairs(*pair) for pair in on_device(pairs, images[0][1].device)]

    def prices(self, logits: Tensor, boxes: Tensor, ground_truth: GroundTruth, size: tuple[int, int]) -> Tensor:
        """Costs of boxes and objects of an image of (h, w), and their overlaps (2, Q, M).

        logits: (Q, C). boxes: (Q, 4) xyxy in pixels.
        """
        shares = box_convert(boxes / extent(size, boxes), "xyxy", "cxcywh")
        in_box, in_center = self.near(boxes, ground_truth)
        cost = self.cost(logits, shares, ground_truth, size) + 100 * ~(in_box & in_center)
        cost = cost + OUTSIDE * ~(in_box | in_center).any(dim=1, keepdim=True)
        return torch.stack([cost, pairwise_iou(boxes, ground_truth.boxes)])

    def choose(self, cost: Tensor, iou: Tensor) -> Tensor:
        """Boxes, rising, and their objects (2, K). Costs and overlaps (Q, M), on the CPU: each step needs the last."""
        if cost.shape[1] == 0:
            return torch.zeros(2, 0, dtype=torch.long)
        chosen = served(choose(cost, iou, self.topk), cost)
        taken = chosen.any(dim=1).nonzero().flatten()
        return torch.stack([taken, chosen[taken].int().argmax(dim=1)])

    def near(self, boxes: Tensor, ground_truth: GroundTruth) -> tuple[Tensor, Tensor]:
        """Whether boxes' centers lie in the objects' boxes, and whether near their centers, both (Q, M)."""
        centers = ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]
        low, high = ground_truth.boxes[:, :2], ground_truth.boxes[:, 2:]
        middle, reach = (low + high) / 2, (high - low) * self.radius
        return tuple(  # type: ignore[return-value]
            torch.cat([centers - a, b - centers], dim=-1).amin(dim=-1) > 0
            for a, b in ((low, high), (middle - reach, middle + reach))
        )


def served(chosen: Tensor, cost: Tensor) -> Tensor:
    """The chosen pairs (Q, M), and the cheapest free box for every object that has none."""
    while not chosen.any(dim=0).all():
        cost = cost + TAKEN * chosen.any(dim=1, keepdim=True)
        for number in (~chosen.any(dim=0)).nonzero().flatten().tolist():
            chosen[cost[:, number].argmin(), number] = True
        contested = chosen.sum(dim=1) > 1
        chosen[contested] = F.one_hot(cost[contested].argmin(dim=1), cost.shape[1]).bool()
    return chosen
