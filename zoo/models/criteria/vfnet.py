"""Losses of VarifocalNet (Zhang et al., 2021, section 3.5)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.box_ops import EPSILON, aligned_iou
from zoo.models.build import component
from zoo.models.criteria.anchor_head import anchor_targets, flatten
from zoo.models.criteria.fcos import PointHead, image_targets
from zoo.models.criteria.protocols import AnchorHead, PriorGenerator
from zoo.models.layers.constants import constant
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class VfnetHeadLike(PointHead, AnchorHead, Protocol):
    """What these losses ask of a head."""

    atss_prior_generator: PriorGenerator

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...

    sync_num_pos: bool
    use_atss: bool
    use_vfl: bool


def vfnet_losses(
    head: VfnetHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` against the overlaps of the refined boxes, `loss_bbox` of the first and `loss_bbox_rf` of these."""
    logits, refined, first = (flatten(x, c).flatten(0, 1) for x, c in zip(outputs, (head.cls_out_channels, 4, 4)))
    points = torch.cat(head.priors(outputs[0])).repeat(len(geometries), 1)
    labels, weights, boxes = targets(head, outputs[0], geometries, ground_truths)
    positive = (labels < head.num_classes).nonzero().flatten()
    average = logits.new_full((), float(len(positive)))
    if head.sync_num_pos:
        average = mean_over_processes(average).clamp(min=1)
    wanted, overlaps, losses = boxes[positive], [], {}
    for name, key, distances in (("bbox", "bbox", first), ("bbox_rf", "bbox_refine", refined)):
        result = head.bbox_coder.decode(points[positive], distances[positive])
        overlaps.append(aligned_iou(result, wanted).clamp(min=EPSILON).detach())
        total = mean_over_processes(overlaps[-1].sum()).clamp(min=1)
        losses["loss_" + name] = component(head.loss_cfg[key])(result, wanted, overlaps[-1], total)
    loss_cls = component(head.loss_cfg["cls"])
    if not head.use_vfl:
        return {"loss_cls": loss_cls(logits, labels, weights, average), **losses}
    quality = torch.zeros_like(logits)
    quality[positive, labels[positive]] = overlaps[1].to(quality.dtype)
    return {"loss_cls": loss_cls(logits, quality, None, average), **losses}


def targets(
    head: VfnetHeadLike,
    maps: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Labels (N * P,), their weights, and boxes (N * P, 4) of all points: by anchors around them, or as in FCOS."""
    if head.use_atss:
        result, _ = anchor_targets(head, maps, geometries, ground_truths, True, head.atss_prior_generator)
        return result.labels.flatten(), result.label_weights.flatten(), result.boxes.flatten(0, 1)
    levels = head.priors(maps)
    points = torch.cat(levels)
    ranges = torch.cat([constant(tuple(r), x).expand(len(x), 2) for x, r in zip(levels, head.regress_ranges)])
    per_image = [image_targets(head, points, ranges, t) for t in ground_truths]
    labels, distances, _ = (torch.stack(x) for x in zip(*per_image))
    return labels.flatten(), None, head.bbox_coder.decode(points, distances).flatten(0, 1)
