"""Losses of YOLOF (Chen et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorMatching, Match, flatten, unencoded
from zoo.models.criteria.protocols import DenseHead, PriorGenerator, TrainedHead
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class YolofHeadLike(DenseHead, TrainedHead, Protocol):
    """What these losses ask of a head."""

    prior_generator: PriorGenerator

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...


def yolof_losses(
    head: YolofHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` and `loss_bbox`; an anchor that two objects are near to learns both boxes."""
    matching = AnchorMatching(head.train_cfg, head.loss_cfg["cls"], head.num_classes)
    levels, sizes = head.priors(outputs[0]), [(x.shape[-2], x.shape[-1]) for x in outputs[0]]
    anchors, strides = torch.cat(levels), head.prior_generator.strides
    images, result, wanted, weights = [], [], [], []
    for geometry, ground_truth, deltas in zip(geometries, ground_truths, flatten(outputs[1], 4)):
        where = matching.inside(levels, sizes, strides, geometry).nonzero().flatten()
        boxes = head.bbox_coder.decode(anchors[where], deltas[where])
        match = matching.assigner.assign(boxes.detach(), anchors[where], ground_truth)
        samples = matching.sampler.sample(match.assignment, anchors[where], ground_truth)
        own = Match(where[samples.positive], where[samples.negative], samples.matched)
        images.append(matching.fill(anchors, own, ground_truth, unencoded))
        result.append(boxes[match.priors])
        wanted.append(ground_truth.boxes[match.objects])
        weights.append(match.counts)
    targets = matching.collect(images)
    average = mean_over_processes(anchors.new_full((), float(targets.average))).clamp(min=1)
    logits = flatten(outputs[0], head.cls_out_channels).flatten(0, 1)
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    return {
        "loss_cls": loss_cls(logits, targets.labels.flatten(), targets.label_weights.flatten(), average),
        "loss_bbox": loss_bbox(torch.cat(result), torch.cat(wanted), torch.cat(weights).to(anchors), average),
    }
