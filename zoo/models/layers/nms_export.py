"""Non-maximum suppression in exported graphs, where no step may depend on how many boxes the example has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.models.layers.ranking import ranked
from zoo.models.layers.survivors import first_survivors
from zoo.models.layers.vision_operators import nms


def traced_nms(
    boxes: Tensor, scores: Tensor, groups: Tensor, options: Mapping[str, Any], count: int
) -> tuple[Tensor, Tensor]:
    """`batched_nms` for an exported graph: no step depends on how many boxes the example has, or whether it has any."""
    if not options.get("class_agnostic", False):
        beyond = torch.cat([boxes.flatten(), boxes.new_zeros(1)]).max() + 1
        boxes = boxes + (groups.to(boxes) * beyond)[:, None]
    limits = [limit for limit in (options.get("max_num", -1), count) if limit > 0]
    if limits and torch.jit.is_tracing():
        keep = FirstSurvivors.apply(boxes, scores, options["iou_threshold"], min(limits))
    else:
        keep = recorded_nms(boxes, scores, options["iou_threshold"])[: min(limits, default=None)]
    return keep, scores[keep]


def recorded_nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """`nms` for a program of torch.export, to which torchvision promises that two boxes survive: so two are added.

    They are the worst ones, and without area, so that they neither suppress another box nor are suppressed.
    """
    boxes = torch.cat([boxes, boxes.new_zeros(2, 4)])
    keep = nms(boxes, torch.cat([scores, scores.new_full((2,), -1.0)]), iou_threshold)
    return keep[keep < boxes.shape[0] - 2]


class FirstSurvivors(torch.autograd.Function):
    """NMS that stops at the `count`th survivor, which ONNX can say and torchvision's operator cannot."""

    @staticmethod
    def forward(_: Any, boxes: Tensor, scores: Tensor, iou_threshold: float, count: int) -> Tensor:
        """Indices of the first `count` survivors, best first. boxes: (K, 4) xyxy. scores: (K,)."""
        order = ranked(scores)[1]
        return order[first_survivors(boxes[order], scores[order], iou_threshold, count)]

    @staticmethod
    def symbolic(graph: Any, boxes: Any, scores: Any, iou_threshold: float, count: int) -> Any:
        """The same as a node of ONNX, whose boxes are (1, K, 4), scores (1, 1, K) and results (S, 3)."""
        limit, threshold = (
            graph.op("Constant", value_t=torch.tensor([value], dtype=kind))
            for value, kind in ((count, torch.int64), (iou_threshold, torch.float32))
        )
        first, both, last = (graph.op("Constant", value_t=torch.tensor(axes)) for axes in ([0], [0, 1], [2]))
        result = graph.op(
            "NonMaxSuppression",
            graph.op("Unsqueeze", boxes, first),
            graph.op("Unsqueeze", scores, both),
            limit,
            threshold,
        )
        return graph.op(
            "Squeeze", graph.op("Gather", result, last, axis_i=1), graph.op("Constant", value_t=torch.tensor([1]))
        )
