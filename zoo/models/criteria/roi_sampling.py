"""Targets and losses of heads on regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from zoo.errors import NotTrainable
from zoo.models.build import component
from zoo.models.criteria import sabl
from zoo.models.criteria.protocols import BoxHead, MaskLearner
from zoo.models.criteria.state import loss_of
from zoo.models.layers.vision_operators import roi_align
from zoo.models.roi_heads.bbox_head import delta_index
from zoo.models.roi_heads.protocols import BoxDeltas, BoxOutputs
from zoo.models.targets import GroundTruth, Samples


def sample_regions(
    proposals: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
    cfg: Mapping[str, Any],
    hardness: Callable[..., Tensor],
) -> list[Samples]:
    """Assign proposals (R, 4) per image to objects and choose which to learn from, as `cfg` says.

    hardness: (image, boxes (K, 4), labels (K,)) -> losses (K,), for hard example mining.
    """
    assigner, sampler = component(cfg["assigner"]), component(cfg["sampler"])
    return [
        sampler.sample(assigner.assign(boxes, ground_truth), boxes, ground_truth, lambda *a, i=i: hardness(i, *a))
        for i, (boxes, ground_truth) in enumerate(zip(proposals, ground_truths))
    ]


def box_targets(
    head: BoxHead, samples: Sequence[Samples], ground_truths: Sequence[GroundTruth], cfg: Mapping[str, Any]
) -> tuple[Tensor, Tensor, Tensor]:
    """Labels (K,), label weights (K,) and boxes (K, 4) of all sampled regions, the positives of an image first.

    Raises NotTrainable for a head that does not learn its boxes by one loss on deltas.
    """
    if "bbox" not in head.loss_cfg:
        raise NotTrainable(f"{type(head).__name__} does not support training (inference only)")
    labels, weights, boxes = [], [], []
    for s, ground_truth in zip(samples, ground_truths):
        positives, negatives = len(s.positive), len(s.negative)
        matched = ground_truth.boxes[s.matched]
        target = matched if head.reg_decoded_bbox else head.bbox_coder.encode(s.boxes[s.positive], matched)
        positive_weight = cfg.get("pos_weight", -1)
        labels.append(
            torch.cat([ground_truth.labels[s.matched], ground_truth.labels.new_full((negatives,), head.num_classes)])
        )
        weight = s.boxes.new_ones(positives + negatives)
        weight[:positives] = positive_weight if positive_weight > 0 else 1.0
        weights.append(weight)
        boxes.append(torch.cat([target, s.boxes.new_zeros(negatives, 4)]))
    return torch.cat(labels), torch.cat(weights), torch.cat(boxes)


def region_losses(
    head: BoxHead,
    outputs: BoxOutputs,
    samples: Sequence[Samples],
    ground_truths: Sequence[GroundTruth],
    cfg: Mapping[str, Any],
) -> tuple[dict[str, Tensor], Tensor]:
    """A box head's losses of the sampled regions, and their labels (K,). outputs: class logits and deltas of them."""
    logits, deltas = outputs
    if isinstance(deltas, tuple):
        return sabl.region_losses(cast(sabl.SidesHead, head), logits, deltas, samples, ground_truths)
    targets = box_targets(head, samples, ground_truths, cfg)
    rois = torch.cat([s.regions for s in samples])
    return box_losses(head, logits, deltas, rois, *targets), targets[0]


def box_losses(
    head: BoxHead,
    logits: Tensor,
    deltas: BoxDeltas,
    rois: Tensor,
    labels: Tensor,
    weights: Tensor,
    boxes: Tensor,
    loss_bbox: Mapping[str, Any] | None = None,
) -> dict[str, Tensor]:
    """`loss_cls` (or what a loss of several parts calls them) and `loss_bbox` of sampled regions (K, 4).

    Only positives have a box to learn. loss_bbox: instead of the head's own.
    """
    average = (weights > 0).sum().clamp(min=1)
    losses = named("loss_cls", loss_of(head, "cls")(logits, labels, weights, average))
    if isinstance(deltas, Tensor):
        positive = (labels < head.num_classes).nonzero().flatten()
        if head.reg_decoded_bbox:
            deltas = head.bbox_coder.decode(rois, deltas)
        deltas = deltas.view(len(deltas), -1, 4)
        chosen = deltas[positive, delta_index(head, labels[positive])]
        loss = component(loss_bbox or head.loss_cfg["bbox"])
        weight = torch.ones_like(chosen)
        losses["loss_bbox"] = loss(chosen, boxes[positive], weight, len(labels)) if len(positive) else chosen.sum()
    return losses


def named(name: str, loss: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """A loss by its name; one of several parts has names of its own."""
    return loss if isinstance(loss, dict) else {name: loss}


def mask_targets(
    samples: Sequence[Samples], ground_truths: Sequence[GroundTruth], size: int | Sequence[int], soft: bool = False
) -> Tensor:
    """Masks (K, h, w) of the positive regions, cut out of the objects' masks and binary again.

    soft: as torchvision's, shares of a cell's area and not shifted by half a pixel.
    """
    shape = (size, size) if isinstance(size, int) else (size[0], size[1])
    result = []
    for s, ground_truth in zip(samples, ground_truths):
        if ground_truth.masks is None or len(s.positive) == 0:
            result.append(s.boxes.new_zeros(0, *shape))
            continue
        height, width = ground_truth.masks.shape[1:]
        boxes = s.boxes[s.positive]
        boxes = torch.cat([boxes[:, 0::2].clamp(0, width), boxes[:, 1::2].clamp(0, height)], dim=1)[:, [0, 2, 1, 3]]
        rois = torch.cat([torch.arange(len(boxes), device=boxes.device)[:, None].to(boxes), boxes], dim=1)
        masks = ground_truth.masks[s.matched][:, None].to(boxes)
        shares = roi_align(masks, rois, shape, 1.0, 0, aligned=not soft).squeeze(1)
        result.append(shares if soft else (shares >= 0.5).to(boxes))
    return torch.cat(result)


def mask_losses(head: MaskLearner, logits: Tensor, targets: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """`loss_mask` of mask logits (K, C, h, w) of positive regions with labels (K,)."""
    if len(logits) == 0:
        return {"loss_mask": logits.sum()}
    own = torch.zeros_like(labels) if head.class_agnostic else labels
    return {"loss_mask": component(head.loss_cfg["mask"]).masks(logits, targets, own)}
