"""Samples weighted by how important they are (Cao et al., Prime Sample Attention, 2019, section 4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor

from zoo.models.box_ops import aligned_iou
from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorTargets, anchor_targets, flatten, losses_of_targets
from zoo.models.criteria.protocols import AnchorHead, BoxHead, RoIHead
from zoo.models.criteria.roi_sampling import box_losses, box_targets
from zoo.models.criteria.ssd import hard_losses
from zoo.models.criteria.standard_roi import hardness, positive_rois, region_mask_losses
from zoo.models.layers.transfer import on_host
from zoo.models.losses.base import Loss
from zoo.models.losses.cross_entropy import CrossEntropyLoss
from zoo.models.losses.regression import SmoothL1Loss
from zoo.models.roi_heads.bbox_head import delta_index
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import BoxOutputs
from zoo.models.samplers.score_hlr import Scored, ScoreHLRSampler
from zoo.models.targets import GroundTruth, Samples, numbered_through
from zoo.structures import ImageGeometry

# From class logits to scores.
Activate = Callable[[Tensor], Tensor]


def pisa_retina_losses(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and, with `carl` in `train_cfg`, `loss_carl`."""
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, absolute=False)
    loss_bbox = component(head.loss_cfg["bbox"])
    weigh(head, outputs, targets, levels, ground_truths, component(head.loss_cfg["cls"]))
    anchors = torch.cat(levels).expand(len(geometries), -1, 4)
    losses = losses_of_targets(head, outputs, targets, anchors, [len(level) for level in levels])
    return {**losses, **dense_carl(head, outputs, targets, loss_bbox, torch.sigmoid)}


def pisa_ssd_losses(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls` with the hardest negatives, `loss_bbox` and, with `carl` in `train_cfg`, `loss_carl`."""
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, head.reg_decoded_bbox)
    weigh(head, outputs, targets, levels, ground_truths, CrossEntropyLoss())
    losses = hard_losses(head, outputs, targets, levels)
    return {**losses, **dense_carl(head, outputs, targets, SmoothL1Loss(), partial(torch.softmax, dim=-1))}


@torch.no_grad()
def weigh(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    targets: AnchorTargets,
    levels: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
    loss_cls: Loss,
) -> None:
    """Give the positives among the targets the weights of their importance, where `train_cfg` has `isr`."""
    image, prior = (targets.owners >= 0).nonzero(as_tuple=True)
    if "isr" not in head.train_cfg or len(prior) == 0:
        return
    logits, deltas = (flatten(x, c)[image, prior] for x, c in zip(outputs, (head.cls_out_channels, 4)))
    labels, anchors = targets.labels[image, prior], torch.cat(list(levels))[prior]
    decoded, goal = (head.bbox_coder.decode(anchors, x) for x in (deltas, targets.boxes[image, prior]))
    owners, weights = (
        numbered_through(list(targets.owners), ground_truths)[image, prior],
        targets.label_weights[image, prior],
    )
    losses = loss_cls(logits, labels, None, None, reduction="none")
    targets.label_weights[image, prior] = importance(
        aligned_iou(decoded, goal), labels, owners, losses, weights, **head.train_cfg["isr"]
    )


def dense_carl(
    head: AnchorHead, outputs: Sequence[Sequence[Tensor]], targets: AnchorTargets, loss_bbox: Loss, activate: Activate
) -> dict[str, Tensor]:
    """`loss_carl` of the positives, where `train_cfg` has `carl`. activate: from class logits to scores."""
    if "carl" not in head.train_cfg:
        return {}
    image, prior = (targets.owners >= 0).nonzero(as_tuple=True)
    logits, deltas = (flatten(x, c)[image, prior] for x, c in zip(outputs, (head.cls_out_channels, 4)))
    confidence = activate(logits).gather(1, targets.labels[image, prior, None])[:, 0]
    losses = loss_bbox(deltas, targets.boxes[image, prior], None, None, reduction="none")
    return {"loss_carl": carl(losses, confidence, targets.positives, **head.train_cfg["carl"])}


def importance(
    overlaps: Tensor, labels: Tensor, owners: Tensor, losses: Tensor, weights: Tensor, k: float = 2, bias: float = 0
) -> Tensor:
    """Weights (K,) of positives by their rank: the best of each object first, then the second best, and so on.

    overlaps: (K,) of the predicted boxes with their objects. labels, owners: classes and objects (K,). losses: (K,) or
    (K, C), whose sum stays. weights: (K,) so far. k: power. bias: weight of the last.
    """
    share = prominence(*on_host([overlaps, weights]), *on_host([labels, owners])).to(losses.device, non_blocking=True)
    share = (bias + share * (1 - bias)) ** k
    losses = losses.sum(dim=1) if losses.dim() > 1 else losses
    return share * (losses * weights).sum() / (losses * share).sum()


def prominence(ranks: Tensor, share: Tensor, labels: Tensor, owners: Tensor) -> Tensor:
    """Weights (K,) of positives scaled by their rank in their class, group by group on the CPU.

    ranks: overlaps (K,). share: weights (K,) so far. labels, owners: (K,). The first two are overwritten.
    """
    largest = labels.bincount().max()
    for label in labels.unique():
        of_class = (labels == label).nonzero().flatten()
        for owner in owners[of_class].unique():
            own = of_class[owners[of_class] == owner]
            ranks[own] += largest - rank(ranks[own])
        share[of_class] *= (largest - rank(ranks[of_class])) / largest
    return share


def rank(values: Tensor) -> Tensor:
    """Ranks (K,) of values in falling order, from 0."""
    return values.sort(descending=True).indices.sort().indices.to(values)


def carl(losses: Tensor, confidence: Tensor, average: float, k: float = 1, bias: float = 0.2) -> Tensor:
    """Classification-aware regression loss: box losses (K, 4) weighted by class scores (K,), which learn from them."""
    if len(losses) == 0:
        return losses.sum() + confidence.sum()
    weights = (bias + (1 - bias) * confidence) ** k
    return (losses / average * (weights * len(weights) / weights.sum())[:, None]).sum()


def pisa_region_losses(
    head: RoIHead,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox`, with `carl` in `train_cfg` `loss_carl`, and with a mask head `loss_mask`."""
    outputs, bbox_head, cfg = partial(head.box_outputs, features), head.bbox_head, head.train_cfg
    samples, of_negatives = sampled(head, outputs, proposals, ground_truths)
    regions = torch.cat([s.regions for s in samples])
    logits, deltas = outputs(rois_of([s.regions for s in samples]))
    assert isinstance(deltas, Tensor)
    labels, weights, boxes = box_targets(bbox_head, samples, ground_truths, cfg)
    weights[labels == bbox_head.num_classes] = torch.cat(of_negatives)
    positive = (labels < bbox_head.num_classes).nonzero().flatten()
    own = deltas.view(len(deltas), -1, 4)[positive, delta_index(bbox_head, labels[positive])]
    loss_cls, loss_bbox = (component(bbox_head.loss_cfg[key]) for key in ("cls", "bbox"))
    if "isr" in cfg and len(positive):
        start = [0, *torch.tensor([len(ground_truth) for ground_truth in ground_truths]).cumsum(0).tolist()]
        owners = torch.cat([s.matched + first for s, first in zip(samples, start)])
        decoded, goal = (bbox_head.bbox_coder.decode(regions[positive], x) for x in (own.detach(), boxes[positive]))
        losses = loss_cls(logits[positive].detach(), labels[positive], None, None, reduction="none")
        weights[positive] = importance(
            aligned_iou(decoded, goal), labels[positive], owners, losses, weights[positive], **cfg["isr"]
        )
    result = box_losses(bbox_head, logits, deltas, regions, labels, weights, boxes)
    if "carl" in cfg:
        confidence = logits.softmax(dim=1)[positive, labels[positive]]
        losses = loss_bbox(own, boxes[positive], None, None, reduction="none")
        result["loss_carl"] = carl(losses, confidence, len(boxes), **cfg["carl"])
    if head.mask_head is not None:
        masks = head.mask_logits(features, positive_rois(samples))
        result.update(region_mask_losses(head.mask_head, masks, samples, ground_truths, cfg["mask_size"]))
    return result


def sampled(
    head: RoIHead,
    outputs: Callable[[Tensor], BoxOutputs],
    proposals: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
) -> tuple[list[Samples], list[Tensor]]:
    """The regions to learn from, and the weights (K,) of each image's negatives."""
    assigner, sampler = component(head.train_cfg["assigner"]), component(head.train_cfg["sampler"])
    samples, weights = [], []
    for i, (boxes, ground_truth) in enumerate(zip(proposals, ground_truths)):
        if isinstance(sampler, ScoreHLRSampler):
            sampler.ask = partial(scored, outputs, head.bbox_head, i)
        mining = partial(hardness, outputs, head.bbox_head, i)
        samples.append(sampler.sample(assigner.assign(boxes, ground_truth), boxes, ground_truth, mining))
        own = getattr(sampler, "weights", None)
        weights.append(boxes.new_ones(len(samples[-1].negative)) if own is None else own)
    return samples, weights


@torch.no_grad()
def scored(outputs: Callable[[Tensor], BoxOutputs], bbox_head: BoxHead, image: int, boxes: Tensor) -> Scored:
    """What the box head says of an image's regions (K, 4). outputs: regions (K, 5) -> class logits and deltas."""
    logits, deltas = outputs(torch.cat([boxes.new_full((len(boxes), 1), image), boxes], dim=1))
    assert isinstance(deltas, Tensor)
    scores = logits.softmax(dim=1)[:, :-1]
    best = delta_index(bbox_head, scores.argmax(dim=1))
    own = deltas.view(len(deltas), -1, 4)[torch.arange(len(best), device=best.device), best]
    background = torch.full_like(best, bbox_head.num_classes)
    losses = component(bbox_head.loss_cfg["cls"])(logits, background, None, None, reduction="none")
    return Scored(scores, bbox_head.bbox_coder.decode(boxes, own), losses)
