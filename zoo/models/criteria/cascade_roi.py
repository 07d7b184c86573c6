"""Losses of Cascade R-CNN: each stage learns from the boxes of the one before (Cai and Vasconcelos, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.models.criteria.protocols import BoxHead, MaskHead
from zoo.models.criteria.roi_sampling import region_losses, sample_regions
from zoo.models.criteria.standard_roi import hardness, positive_rois, region_mask_losses
from zoo.models.dense_heads.rpn import larger_than
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import BoxOutputs, CascadeBoxHead, Extractor
from zoo.models.roi_heads.scene import Features
from zoo.models.roi_heads.standard import split
from zoo.models.targets import GroundTruth, Samples
from zoo.structures import ImageGeometry


class RefiningHead(BoxHead, CascadeBoxHead, Protocol):
    """A stage's box head."""


class BoxCascade(Protocol):
    """What the losses of boxes ask of a head."""

    bbox_head: Sequence[RefiningHead]
    num_stages: int
    stage_loss_weights: Sequence[float]
    train_cfg: Sequence[Mapping[str, Any]]

    def box_outputs(self, stage: int, features: Features, rois: Tensor, /) -> BoxOutputs:
        """A stage's class logits and deltas of regions (M, 5)."""
        ...


class CascadeRoiHeadLike(BoxCascade, Protocol):
    """What the losses of masks ask beside that."""

    bbox_roi_extractor: Sequence[Extractor]
    mask_head: Sequence[MaskHead] | None
    mask_roi_extractor: Sequence[Extractor] | None


def cascade_losses(
    head: CascadeRoiHeadLike,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """Losses of a `CascadeRoIHead`, `s0.` to `s2.` for the stages, each times the weight of its stage.

    features: per level (N, C, H, W). proposals: per image (R, 4) xyxy.
    """
    regions, losses = list(proposals), {}
    for stage, weight in enumerate(head.stage_loss_weights):
        own, regions = stage_losses(head, stage, features, regions, geometries, ground_truths)
        losses.update({f"s{stage}.{name}": value * weight for name, value in own.items()})
    return losses


def stage_losses(
    head: CascadeRoiHeadLike,
    stage: int,
    features: Sequence[Tensor],
    regions: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> tuple[dict[str, Tensor], list[Tensor]]:
    """One stage's losses, and the regions of the next one."""
    run = box_stage(head, stage, features, regions, ground_truths)
    if head.mask_head is not None and stage < len(head.mask_head):
        extractor = (head.mask_roi_extractor or head.bbox_roi_extractor)[stage]
        masks = head.mask_head[stage](extractor(features, positive_rois(run.samples)))
        size = head.train_cfg[stage]["mask_size"]
        run.losses.update(region_mask_losses(head.mask_head[stage], masks, run.samples, ground_truths, size))
    return run.losses, [] if stage + 1 == head.num_stages else next_regions(head, stage, run, geometries)


def next_regions(head: BoxCascade, stage: int, run: BoxStage, geometries: Sequence[ImageGeometry]) -> list[Tensor]:
    """The refined regions (R, 4) per image that the `train_cfg` of the next stage asks for.

    `refined_ground_truth`: also those that were objects' own boxes. `min_bbox_size`: only those of more pixels on both
    sides. Detectron2 takes all that are not empty.
    """
    cfg = head.train_cfg[stage + 1]
    moved = refined(head.bbox_head[stage], run, geometries, cfg.get("refined_ground_truth", False))
    return [boxes[larger_than(boxes, cfg.get("min_bbox_size", -1))] for boxes in moved]


@dataclass
class BoxStage:
    """What a stage's box head did: its losses, the regions, its class logits and deltas of them, their labels (K,)."""

    losses: dict[str, Tensor]
    samples: list[Samples]
    outputs: BoxOutputs
    labels: Tensor


def box_stage(
    head: BoxCascade,
    stage: int,
    features: Features,
    regions: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
) -> BoxStage:
    """One stage's box head on a sample of the regions. features: what the head's `box_outputs` sees."""
    bbox_head, cfg = head.bbox_head[stage], head.train_cfg[stage]
    outputs = partial(head.box_outputs, stage, features)
    samples = sample_regions(regions, ground_truths, cfg, partial(hardness, outputs, bbox_head))
    result = outputs(rois_of([s.regions for s in samples]))
    losses, labels = region_losses(bbox_head, result, samples, ground_truths, cfg)
    return BoxStage(losses, samples, result, labels)


@torch.no_grad()
def refined(
    bbox_head: RefiningHead, run: BoxStage, geometries: Sequence[ImageGeometry], ground_truth: bool = False
) -> list[Tensor]:
    """The sampled regions moved by their deltas.

    ground_truth: also those that were objects' own boxes; otherwise the next stage adds these anew.
    """
    samples = run.samples
    counts = [len(s.positive) + len(s.negative) for s in samples]
    moved = []
    for s, c, d, own, geometry in zip(samples, *(split(x, counts) for x in (*run.outputs, run.labels)), geometries):
        boxes = bbox_head.refine(s.regions, c, d, geometry, own)
        keep = torch.cat([~s.is_ground_truth[s.positive], s.is_ground_truth.new_ones(len(s.negative))])
        moved.append(boxes if ground_truth else boxes[keep])
    return moved
