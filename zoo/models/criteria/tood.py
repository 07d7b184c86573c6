"""Losses of TOOD (Feng et al., 2021, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.coders.delta import center_and_size
from zoo.models.criteria.anchor_head import AnchorMatching, AnchorTargets, Match, flatten, unencoded
from zoo.models.criteria.centerness import centerness
from zoo.models.criteria.protocols import PriorGenerator, TrainedHead
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import Assignment, GroundTruth
from zoo.structures import ImageGeometry

# Keeps the best alignment of an object from dividing by zero.
EPSILON = 1e-7


class ToodHeadLike(TrainedHead, Protocol):
    """What these losses ask of a head."""

    cls_out_channels: int
    epoch: int
    prior_generator: PriorGenerator

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...


def tood_losses(
    head: ToodHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` and `loss_bbox`: in the first epochs as ATSS, later weighted by how well the tasks are aligned."""
    initial = head.epoch < head.train_cfg["initial_epoch"]
    strides = [stride[0] for stride in head.prior_generator.strides]
    scores = flatten(outputs[0], head.cls_out_channels)
    units = torch.cat([x.new_full((x[0, 0].numel(), 1), s) for x, s in zip(outputs[0], strides)])
    boxes, anchors = flatten(outputs[1], 4), head.priors(outputs[0])
    targets, alignment = (assigned if initial else aligned)(
        head, scores, boxes * units, outputs[0], geometries, ground_truths
    )
    labels, result = targets.labels.flatten(), boxes.flatten(0, 1)
    positive = (labels < head.num_classes).nonzero().flatten()
    centers = torch.cat(anchors).repeat(len(geometries), 1)[positive]
    weights, wanted = alignment.flatten()[positive], targets.boxes.flatten(0, 1)[positive]
    if initial:
        weights = centerness(head_distances(centers, wanted))
    goals: Tensor | tuple[Tensor, Tensor] = labels if initial else (labels, alignment.flatten())
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("initial_cls" if initial else "cls", "bbox"))
    units = units.repeat(len(geometries), 1)[positive]
    count, total = (mean_over_processes(x.sum()).clamp(min=1) for x in (alignment, weights))
    return {
        "loss_cls": loss_cls(scores.flatten(0, 1), goals, targets.label_weights.flatten(), 1.0) / count,
        "loss_bbox": loss_bbox(result[positive], wanted / units, weights, 1.0) / total,
    }


def head_distances(anchors: Tensor, boxes: Tensor) -> Tensor:
    """Distances (K, 4) from the centers of anchors (K, 4) to the sides of boxes (K, 4)."""
    points = center_and_size(anchors)[0]
    return torch.cat([points - boxes[:, :2], boxes[:, 2:] - points], dim=1)


def assigned(
    head: ToodHeadLike,
    scores: Tensor,
    boxes: Tensor,
    maps: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> tuple[AnchorTargets, Tensor]:
    """Targets by the initial assigner, and an alignment (N, P) of one for every positive."""
    cfg = {**head.train_cfg, "assigner": head.train_cfg["initial_assigner"]}
    matching, levels, sizes = prepared(head, cfg, maps)
    targets = matching.targets(levels, sizes, head.prior_generator.strides, geometries, ground_truths, unencoded)
    return targets, targets.box_weights[..., 0]


def aligned(
    head: ToodHeadLike,
    scores: Tensor,
    boxes: Tensor,
    maps: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> tuple[AnchorTargets, Tensor]:
    """Targets by alignment, and the normalized alignment (N, P). scores: (N, P, C). boxes: (N, P, 4) in pixels."""
    matching, levels, sizes = prepared(head, head.train_cfg, maps)
    anchors, powers = torch.cat(levels), (head.train_cfg["alpha"], head.train_cfg["beta"])
    images, alignments = [], []
    for geometry, ground_truth, own_scores, own_boxes in zip(
        geometries, ground_truths, scores.detach(), boxes.detach()
    ):
        where = matching.inside(levels, sizes, head.prior_generator.strides, geometry).nonzero().flatten()
        result, alignment = matching.assigner.assign(
            own_scores[where], own_boxes[where], anchors[where], ground_truth, *powers
        )
        samples = matching.sampler.sample(result, anchors[where], ground_truth)
        match = Match(where[samples.positive], where[samples.negative], samples.matched)
        images.append(matching.fill(anchors, match, ground_truth, unencoded))
        alignments.append(anchors.new_zeros(len(anchors)))
        alignments[-1][where] = normalized(result, alignment, len(ground_truth))
    return matching.collect(images), torch.stack(alignments)


def normalized(result: Assignment, alignment: Tensor, objects: int) -> Tensor:
    """Alignments (P,) scaled so that the best of each object equals the best overlap with it."""
    if objects == 0:
        return torch.zeros_like(alignment)
    own, positive = result.index.clamp(min=0), result.index >= 0
    parts = (torch.where(positive, x, 0) for x in (alignment, result.overlaps))
    best, overlap = (x.new_zeros(objects).scatter_reduce(0, own, x, "amax")[own] for x in parts)
    return torch.where(positive, alignment / (best + EPSILON) * overlap, 0)


def prepared(
    head: ToodHeadLike, cfg: Mapping[str, Any], maps: Sequence[Tensor]
) -> tuple[AnchorMatching, list[Tensor], list[tuple[int, int]]]:
    """A matching by `cfg`, the anchors level by level, and the sizes of the maps."""
    matching = AnchorMatching(cfg, head.loss_cfg["cls"], head.num_classes)
    return matching, head.priors(maps), [(x.shape[-2], x.shape[-1]) for x in maps]
