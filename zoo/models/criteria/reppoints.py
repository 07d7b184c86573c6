"""Losses of RepPoints (Yang et al., 2019, section 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorMatching, AnchorTargets, flatten, unencoded
from zoo.models.criteria.protocols import PriorGenerator, TrainedHead
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class ReppointsHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    cls_out_channels: int
    point_base_scale: float
    point_strides: Sequence[int]
    prior_generator: PriorGenerator

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...

    def boxes(self, points: Tensor, /) -> Tensor:
        """Boxes (N, 4, H, W) xyxy of points (N, 2 * num_points, H, W), y first."""
        ...


def reppoints_losses(
    head: ReppointsHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, and the losses of the boxes of the first and the refined points, `loss_pts_init`, `_refine`."""
    logits, refined, first = outputs
    points, sizes = head.priors(logits), [(x.shape[-2], x.shape[-1]) for x in logits]
    units = torch.cat([p.new_full((len(p), 1), head.point_base_scale * s) for p, s in zip(points, head.point_strides)])
    boxes = {"init": absolute(head, first, points), "refine": absolute(head, refined, points)}
    own = {"init": start(head, points, len(geometries)), "refine": split(boxes["init"].detach(), points)}
    losses = {}
    for stage, candidates in own.items():
        matching = AnchorMatching(stage_cfg(head, stage), head.loss_cfg["cls"], head.num_classes)
        strides = head.prior_generator.strides
        result = matching.targets(points, sizes, strides, geometries, ground_truths, unencoded, candidates)
        losses["loss_pts_" + stage] = box_loss(head, stage, boxes[stage], units, result)
    scores, labels = flatten(logits, head.cls_out_channels).flatten(0, 1), result.labels.flatten()
    loss_cls = component(head.loss_cfg["cls"])
    return {"loss_cls": loss_cls(scores, labels, result.label_weights.flatten(), result.average), **losses}


def stage_cfg(head: ReppointsHeadLike, stage: str) -> Mapping[str, Any]:
    """How a stage assigns; crossing the border does not matter to points."""
    return {**head.train_cfg[stage], "allowed_border": -1}


def box_loss(head: ReppointsHeadLike, stage: str, boxes: Tensor, units: Tensor, targets: AnchorTargets) -> Tensor:
    """The loss of boxes (N, P, 4) in `units` (P, 1) of pixels."""
    result, wanted = (boxes / units).flatten(0, 1), (targets.boxes[..., :4] / units).flatten(0, 1)
    weights = targets.box_weights.flatten(0, 1)
    loss: Tensor = component(head.loss_cfg["bbox_" + stage])(result, wanted, weights, targets.average)
    return loss


def absolute(head: ReppointsHeadLike, maps: Sequence[Tensor], points: Sequence[Tensor]) -> Tensor:
    """Boxes (N, P, 4) xyxy in pixels of sets of points (N, 2 * num_points, H, W) per level."""
    relative = [head.boxes(x).flatten(2).transpose(1, 2) * s for x, s in zip(maps, head.point_strides)]
    return torch.cat(relative, dim=1) + torch.cat(list(points))[:, :2].repeat(1, 2)


def start(head: ReppointsHeadLike, points: Sequence[Tensor], images: int) -> list[list[Tensor]]:
    """What the first points are assigned by, for each image: the cells' points, or boxes around them."""
    levels = list(points)
    if head.train_cfg["init"]["assigner"]["type"] != "PointAssigner":
        sides = [head.point_base_scale * stride / 2 for stride in head.point_strides]
        levels = [torch.cat([p[:, :2] - side, p[:, :2] + side], dim=1) for p, side in zip(points, sides)]
    return [levels] * images


def split(boxes: Tensor, points: Sequence[Tensor]) -> list[list[Tensor]]:
    """Boxes (N, P, 4) image by image and level by level."""
    return [list(image.split([len(p) for p in points])) for image in boxes]
