"""Losses of FSAF: each object is learned by the level that fits it best (Zhu et al., 2019, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorMatching, AnchorTargets, Match, flatten, unencoded
from zoo.models.criteria.protocols import AnchorHead
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

# Boxes of no area have no gradient.
SMALLEST = 1e-4
# The loss of a level without priors of an object.
NEVER = 1e6


class FsafHeadLike(AnchorHead, Protocol):
    """What these losses ask of a head."""

    def priors(self, maps: Sequence[Tensor], /) -> list[Tensor]:
        """Priors (P, 4) of each level. maps: any maps (N, ..., H, W) of these levels."""
        ...


def fsaf_losses(
    head: FsafHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` and `loss_bbox`; an object's priors on other levels than its best do not count for its class."""
    levels = head.priors(outputs[0])
    targets, class_weights, background = match(head, levels, outputs[0], geometries, ground_truths)
    logits, distances = flatten(outputs[0], head.cls_out_channels), flatten(outputs[1], 4).clamp(min=SMALLEST)
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    shape = logits.shape[:2]
    of_class = loss_cls(
        logits.flatten(0, 1), targets.labels.flatten(), class_weights.flatten(0, 1), None, reduction="none"
    ).view(logits.shape)
    if head.reg_decoded_bbox:
        distances = head.bbox_coder.decode(torch.cat(levels).expand(len(geometries), -1, 4), distances)
    weights = targets.box_weights.flatten(0, 1)
    of_box = loss_bbox(distances.flatten(0, 1), targets.boxes.flatten(0, 1), weights, None, reduction="none")
    of_box = of_box.view(*shape, -1).sum(dim=-1)
    kept, total = best_level((of_class.sum(dim=-1) + of_box).detach(), targets.owners, [len(x) for x in levels])
    dropped = (targets.owners >= 0) & ~kept
    image, prior = dropped.nonzero(as_tuple=True)
    counts = torch.ones_like(of_class)
    counts[image, prior, targets.labels[image, prior]] = 0
    average = total or background
    return {
        "loss_cls": (of_class * counts).sum() / average,
        "loss_bbox": torch.where(dropped, 0, of_box).sum() / average,
    }


def match(
    head: FsafHeadLike,
    levels: Sequence[Tensor],
    maps: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> tuple[AnchorTargets, Tensor, int]:
    """Targets, weights (N, P, C) of each class, and how many priors are background."""
    matching = AnchorMatching(head.train_cfg, head.loss_cfg["cls"], head.num_classes)
    sizes, anchors = [(x.shape[-2], x.shape[-1]) for x in maps], torch.cat(list(levels))
    encode = unencoded if head.reg_decoded_bbox else head.bbox_coder.encode
    images, weights, background = [], [], 0
    for geometry, ground_truth in zip(geometries, ground_truths):
        where = matching.inside(levels, sizes, head.prior_generator.strides, geometry).nonzero().flatten()
        result = matching.assigner.assign(anchors[where], ground_truth)
        samples = matching.sampler.sample(result, anchors[where], ground_truth)
        own = Match(where[samples.positive], where[samples.negative], samples.matched)
        images.append(matching.fill(anchors, own, ground_truth, encode))
        weights.append(images[-1][1][:, None].repeat(1, head.num_classes))
        prior, shadow = result.shadows.nonzero(as_tuple=True)
        weights[-1][where[prior], ground_truth.labels[shadow]] = 0
        background += max(len(own.negative), 1)
    return matching.collect(images), torch.stack(weights), background


def best_level(losses: Tensor, owners: Tensor, counts: Sequence[int]) -> tuple[Tensor, int]:
    """Which positives (N, P) are on the level with the lowest mean loss of their object, and how many. losses: (N, P).

    Looked for on the CPU, level by level and object by object.
    """
    kept = torch.zeros(owners.shape, dtype=torch.bool)
    for image, (loss, owner) in enumerate(zip(losses.cpu(), owners.cpu())):
        levels = list(zip(loss.split(list(counts)), owner.split(list(counts))))
        for i in owner[owner >= 0].unique():
            means = torch.stack([x[o == i].mean() if (o == i).any() else x.new_tensor(NEVER) for x, o in levels])
            start = sum(counts[: int(means.argmin())])
            own = slice(start, start + counts[int(means.argmin())])
            kept[image, own] |= owner[own] == i
    return kept.to(losses.device, non_blocking=True), int(kept.sum())
