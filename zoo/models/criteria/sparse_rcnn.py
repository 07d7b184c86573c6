"""Losses of Sparse R-CNN and QueryInst: each stage's set is compared with the objects (Sun et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.models.assigners.hungarian import extent
from zoo.models.box_ops import box_convert
from zoo.models.build import component
from zoo.models.criteria.detr import Layer, match, matched
from zoo.models.criteria.protocols import ClassHead, MaskLearner
from zoo.models.criteria.roi_sampling import mask_targets
from zoo.models.criteria.standard_roi import positive_labels, positive_rois
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.query_heads.sparse_roi_head import Stage
from zoo.models.roi_heads.protocols import Extractor, present
from zoo.models.targets import GroundTruth, Pairs, Samples
from zoo.structures import ImageGeometry


class QueryMaskHead(MaskLearner, Protocol):
    """A mask head of regions and their queries."""

    def __call__(self, x: Tensor, queries: Tensor, /) -> Tensor:
        """Mask logits (K, num_classes, h, w) from region features and queries (K, C)."""
        ...


class SparseRcnnHeadLike(Protocol):
    """What these losses ask of a head."""

    bbox_head: Sequence[ClassHead]
    bbox_roi_extractor: Sequence[Extractor]
    mask_head: Sequence[QueryMaskHead] | None
    mask_roi_extractor: Sequence[Extractor] | None
    stage_loss_weights: Sequence[float]
    train_cfg: Sequence[Mapping[str, Any]]

    def run_stage(
        self,
        stage: int,
        features: Sequence[Tensor],
        boxes: Sequence[Tensor],
        queries: Tensor,
        geometries: Sequence[ImageGeometry],
        /,
    ) -> Stage:
        """One stage. boxes: per image (Q, 4) xyxy. queries: (N, Q, C)."""
        ...


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
    stages: list[Stage] = []
    for stage in range(len(head.stage_loss_weights)):
        stages.append(head.run_stage(stage, features, boxes, queries, geometries))
        boxes, queries = [b.detach() for b in stages[-1].boxes], stages[-1].objects
    layers = [Layer(stage.logits, shares(stage.boxes, geometries), ground_truths) for stage in stages]
    losses: dict[str, Tensor] = {}
    for stage, pairs in enumerate(match([cfg["assigner"] for cfg in head.train_cfg], layers, geometries)):
        own = stage_losses(head, stage, features, stages[stage], pairs, geometries, ground_truths)
        losses |= {f"stage{stage}_{name}": value * head.stage_loss_weights[stage] for name, value in own.items()}
    return losses


def stage_losses(
    head: SparseRcnnHeadLike,
    stage: int,
    features: Sequence[Tensor],
    result: Stage,
    pairs: Sequence[Pairs],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """One stage's losses."""
    losses = box_losses(head.bbox_head[stage], result, pairs, geometries, ground_truths, head.train_cfg[stage])
    if head.mask_head is not None:
        samples = [sample(own, boxes.detach()) for own, boxes in zip(pairs, result.boxes)]
        losses["loss_mask"] = mask_loss(head, stage, features, result.attended, samples, ground_truths)
    return losses


def shares(boxes: Sequence[Tensor], geometries: Sequence[ImageGeometry]) -> Tensor:
    """Boxes (N, Q, 4) cxcywh as shares of the images, of boxes (Q, 4) xyxy per image."""
    return torch.stack([box_convert(b / extent(f.size, b), "xyxy", "cxcywh") for b, f in zip(boxes, geometries)])


def box_losses(
    bbox_head: ClassHead,
    result: Stage,
    pairs: Sequence[Pairs],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    cfg: Mapping[str, Any],
) -> dict[str, Tensor]:
    """One stage's losses without masks."""
    collected = matched(pairs, [len(x) for x in result.logits], geometries, ground_truths)
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


def sample(pairs: Pairs, boxes: Tensor) -> Samples:
    """An image's queries (Q, 4 xyxy) with an object; masks learn from no others."""
    nothing = torch.zeros(len(boxes), dtype=torch.bool, device=boxes.device)
    return Samples(boxes, pairs.query, pairs.query[:0], pairs.objects, nothing)


def mask_loss(
    head: SparseRcnnHeadLike,
    stage: int,
    features: Sequence[Tensor],
    attended: Tensor,
    samples: Sequence[Samples],
    ground_truths: Sequence[GroundTruth],
) -> Tensor:
    """The loss of the masks of the queries with an object. attended: (N, Q, C)."""
    mask_head, extractor = present(head.mask_head)[stage], (head.mask_roi_extractor or head.bbox_roi_extractor)[stage]
    queries = torch.cat([x[s.positive] for x, s in zip(attended, samples)])
    labels = positive_labels(samples, ground_truths)
    logits = mask_head(extractor(features, positive_rois(samples)), queries)
    targets = mask_targets(samples, ground_truths, head.train_cfg[stage]["mask_size"])
    average = mean_over_processes(logits.new_full((), float(len(labels)))).clamp(min=1)
    return component(mask_head.loss_cfg["mask"])(mask_head.probabilities(logits, labels), targets, None, average)
