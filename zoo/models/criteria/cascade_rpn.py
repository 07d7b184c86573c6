"""Losses of Cascade RPN: each stage refines the anchors of the one before (Vu et al., 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor

from zoo.models.criteria.anchor_head import (
    AnchorMatching,
    AnchorTargets,
    Match,
    class_agnostic,
    losses_of_targets,
    unencoded,
)
from zoo.models.criteria.protocols import AnchorHead
from zoo.models.dense_heads.cascade_rpn import StageCascadeRPNHead
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# By how many cells a stage that takes no sample divides its loss, as guided anchoring does.
CELLS_PER_UNIT = 200


class CascadeRpnHeadLike(Protocol):
    """What these losses ask of a head."""

    stages: Sequence[StageCascadeRPNHead]


def cascade_rpn_losses(
    head: CascadeRpnHeadLike,
    features: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`s0.loss_rpn_reg` and so on, and `loss_rpn_cls` of the stages that classify. features: per level (N, C, H, W)."""
    anchors, losses, objects = head.stages[0].initial_anchors(features), {}, class_agnostic(ground_truths)
    for number, stage in enumerate(head.stages):
        features, logits, deltas = stage(features, anchors)
        targets = stage_targets(stage, deltas, anchors, geometries, objects)
        own = losses_of_targets(
            cast(AnchorHead, stage),
            (logits, deltas),
            targets,
            torch.cat(list(anchors), dim=1),
            [x.shape[1] for x in anchors],
        )
        losses.update({f"s{number}.{NAMES[name]}": value for name, value in own.items()})
        anchors = stage.refine(anchors, deltas, geometries)
    return losses


NAMES = {"loss_cls": "loss_rpn_cls", "loss_bbox": "loss_rpn_reg"}


def stage_targets(
    stage: StageCascadeRPNHead,
    maps: Sequence[Tensor],
    anchors: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> AnchorTargets:
    """Targets of one stage. maps: any maps (N, ..., H, W) of the levels. anchors: per level (N, P_i, 4)."""
    matching = AnchorMatching(stage.train_cfg, stage.loss_cfg["cls"], stage.num_classes, stage.sampling)
    sizes, strides = [(x.shape[-2], x.shape[-1]) for x in maps], stage.prior_generator.strides
    encode = unencoded if stage.reg_decoded_bbox else stage.bbox_coder.encode
    levels, own = [x[0] for x in anchors], [[x[i] for x in anchors] for i in range(len(geometries))]
    if not hasattr(matching.assigner, "around"):
        return matching.targets(levels, sizes, strides, geometries, ground_truths, encode, own)
    images, scale = [], float(stage.prior_generator.scales[0][0])
    for mine, geometry, ground_truth in zip(own, geometries, ground_truths):
        everything = torch.cat(mine)
        result = matching.assigner.assign(mine, [s[0] for s in strides], scale, ground_truth)
        inside = matching.valid(levels, sizes, strides, geometry) & matching.within(everything, geometry)
        samples = matching.sampler.sample(result, everything, ground_truth)
        positive, negative = samples.positive[inside[samples.positive]], samples.negative[inside[samples.negative]]
        images.append(
            matching.fill(everything, Match(positive, negative, result.index[positive]), ground_truth, encode)
        )
    targets = matching.collect(images)
    if not stage.sampling:
        targets.average = targets.labels.numel() / CELLS_PER_UNIT
    return targets
