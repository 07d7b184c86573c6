"""Losses of SSD: hard negative mining (Liu et al., 2015, section 2.2)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.criteria.anchor_head import AnchorTargets, anchor_targets, flatten
from zoo.models.criteria.protocols import AnchorHead
from zoo.models.losses.regression import SmoothL1Loss
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


def ssd_losses(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` of the positives and the hardest negatives of each image, and `loss_bbox`."""
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, head.reg_decoded_bbox)
    return hard_losses(head, outputs, targets, levels)


def hard_losses(
    head: AnchorHead, outputs: Sequence[Sequence[Tensor]], targets: AnchorTargets, levels: Sequence[Tensor]
) -> dict[str, Tensor]:
    """The losses for these targets. levels: anchors (P_i, 4)."""
    logits, deltas = flatten(outputs[0], head.cls_out_channels), flatten(outputs[1], 4)
    if head.reg_decoded_bbox:
        anchors = torch.cat(list(levels))
        deltas = torch.stack([head.bbox_coder.decode(anchors, x) for x in deltas])
    entropy = F.cross_entropy(logits.transpose(1, 2), targets.labels, reduction="none") * targets.label_weights
    ratio = head.train_cfg["neg_pos_ratio"]
    mined_losses = [mined(x, labels < head.num_classes, ratio) for x, labels in zip(entropy, targets.labels)]
    loss_cls = torch.stack(mined_losses).sum()
    loss_bbox = SmoothL1Loss(beta=head.train_cfg["smoothl1_beta"])
    return {
        "loss_cls": loss_cls / targets.average,
        "loss_bbox": loss_bbox(deltas, targets.boxes, targets.box_weights, targets.average),
    }


def mined(losses: Tensor, positive: Tensor, ratio: float) -> Tensor:
    """The sum of one image's losses (P,) over its positives and the `ratio` times as many hardest negatives."""
    negatives = losses[~positive]
    count = min(int(ratio * positive.sum()), len(negatives))
    return losses[positive].sum() + negatives.topk(count).values.sum()
