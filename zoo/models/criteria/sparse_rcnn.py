"""Losses of Sparse R-CNN and QueryInst: each stage's set is compared with the objects (Sun et al., 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torchvision.ops import box_convert

from zoo.models.assigners.hungarian import extent
from zoo.models.build import component
from zoo.models.criteria.detr import match, matched
from zoo.models.criteria.protocols import ClassHead
from zoo.models.criteria.roi_sampling import mask_targets
from zoo.models.criteria.standard_roi import positive_labels, positive_rois
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth, Samples
from zoo.structures import ImageGeometry


class SparseRcnnHeadLike(Protocol):
    """What these losses ask of a head."""

    bbox_head: Any
    bbox_roi_extractor: Any
    mask_head: Any
    mask_roi_extractor: Any
    run_stage: Callable[..., Any]
    stage_loss_weights: Sequence[float]
    train_cfg: Any


def sparse_losses(
    head: SparseRcnnHeadLike,
    features: Sequence[Tensor],
    boxes: Sequence[Tensor],
    queries: Tensor,
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox`, `loss_iou` and, with mask heads, `loss_mask`, behind "stage0_" and so on.

    features: per level (N, C, H, W). boxes: per image (Q, 4) xyxy. queries: (N, Q, C).
    """
    losses = {}
    for stage, weight in enumerate(head.stage_loss_weights):
        result = head.run_stage(stage, features, boxes, queries, geometries)
        boxes, queries = [b.detach() for b in result.boxes], result.objects
        index = match(
            head.train_cfg[stage]["assigner"], result.logits, shares(boxes, geometries), geometries, ground_truths
        )
        own = box_losses(head.bbox_head[stage], result, index, geometries, ground_truths, head.train_cfg[stage])
        if head.mask_head is not None:
            samples = [sample(x, b) for x, b in zip(index, boxes)]
            own["loss_mask"] = mask_loss(head, stage, features, result.attended, samples, ground_truths)
        losses.update({f"stage{stage}_{name}": value * weight for name, value in own.items()})
    return losses


def shares(boxes: Sequence[Tensor], geometries: Sequence[ImageGeometry]) -> Tensor:
    """Boxes (N, Q, 4) cxcywh as shares of the images, of boxes (Q, 4) xyxy per image."""
    return torch.stack([box_convert(b / extent(f.size, b), "xyxy", "cxcywh") for b, f in zip(boxes, geometries)])


def box_losses(
    bbox_head: ClassHead,
    result: Any,
    index: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    cfg: Mapping[str, Any],
) -> dict[str, Tensor]:
    """One stage's losses without masks. result: its `Stage`. index: what `match` returned."""
    collected = matched(index, geometries, ground_truths)
    logits, boxes = result.logits.flatten(0, 1), torch.cat(result.boxes)[collected.query]
    labels, weights = collected.spread(len(logits), bbox_head.num_classes), logits.new_ones(len(logits))
    weights[collected.query] = max(cfg.get("pos_weight", -1), 0) or 1.0
    average = mean_over_processes(logits.new_full((), float(len(collected.query)))).clamp(min=1)
    loss_cls, loss_bbox, loss_iou = (component(bbox_head.loss_cfg[key]) for key in ("cls", "bbox", "iou"))
    return {
        "loss_cls": loss_cls(logits, labels, weights, average),
        "loss_bbox": loss_bbox(boxes / collected.scale, collected.boxes / collected.scale, None, average),
        "loss_iou": loss_iou(boxes, collected.boxes, None, average),
    }


def sample(index: Tensor, boxes: Tensor) -> Samples:
    """An image's queries (Q, 4 xyxy) with and without object. index: (Q,)."""
    positive, negative = (index >= 0).nonzero().flatten(), (index < 0).nonzero().flatten()
    return Samples(boxes, positive, negative, index[positive], torch.zeros_like(index, dtype=torch.bool))


def mask_loss(
    head: SparseRcnnHeadLike,
    stage: int,
    features: Sequence[Tensor],
    attended: Tensor,
    samples: Sequence[Samples],
    ground_truths: Sequence[GroundTruth],
) -> Tensor:
    """The loss of the masks of the queries with an object. attended: (N, Q, C)."""
    mask_head, extractor = head.mask_head[stage], (head.mask_roi_extractor or head.bbox_roi_extractor)[stage]
    queries = torch.cat([x[s.positive] for x, s in zip(attended, samples)])
    labels = positive_labels(samples, ground_truths)
    logits = mask_head(extractor(features, positive_rois(samples)), queries)
    targets = mask_targets(samples, ground_truths, head.train_cfg[stage]["mask_size"])
    average = mean_over_processes(logits.new_full((), float(len(labels)))).clamp(min=1)
    return component(mask_head.loss_cfg["mask"])(mask_head.probabilities(logits, labels), targets, None, average)
