"""Losses of Dynamic R-CNN: thresholds and losses follow what the proposals have become (Zhang et al., 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import mean, median
from typing import Any

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.protocols import RoIHead
from zoo.models.criteria.roi_sampling import box_losses, box_targets
from zoo.models.criteria.standard_roi import hardness, positive_rois, region_mask_losses
from zoo.models.criteria.state import memory_of
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import BoxOutputs
from zoo.models.targets import GroundTruth, Samples
from zoo.structures import ImageGeometry

# A box loss must not become quadratic nowhere.
SMALLEST = 1e-15


def dynamic_losses(
    head: RoIHead,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, `loss_bbox` and, with a mask head, `loss_mask`; every so often both settings are renewed."""
    memory, bbox_head, cfg = memory_of(head), head.bbox_head, head.train_cfg["dynamic_rcnn"]
    outputs = partial(head.box_outputs, features)
    samples, overlap = sampled(head, outputs, proposals, ground_truths, memory.get("threshold"), cfg["iou_topk"])
    rois = rois_of([s.regions for s in samples])
    logits, deltas = outputs(rois)
    labels, weights, boxes = box_targets(bbox_head, samples, ground_truths, head.train_cfg)
    memory.setdefault("overlaps", []).append(overlap)
    positive = labels < bbox_head.num_classes
    memory.setdefault("shifts", []).append(shift(boxes[positive], cfg["beta_topk"] * len(ground_truths)))
    with_beta = {**bbox_head.loss_cfg["bbox"], **({"beta": memory["beta"]} if "beta" in memory else {})}
    losses = box_losses(bbox_head, logits, deltas, rois[:, 1:], labels, weights, boxes, with_beta)
    if head.mask_head is not None:
        masks = head.mask_logits(features, positive_rois(samples))
        losses.update(region_mask_losses(head.mask_head, masks, samples, ground_truths, head.train_cfg["mask_size"]))
    if len(memory["overlaps"]) % cfg["update_iter_interval"] == 0:
        renew(memory, cfg)
    return losses


def sampled(
    head: RoIHead,
    outputs: Callable[[Tensor], BoxOutputs],
    proposals: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
    threshold: float | None,
    topk: int,
) -> tuple[list[Samples], float]:
    """The regions to learn from, and the mean over the images of their `topk`-th largest overlap."""
    settings = dict(head.train_cfg["assigner"])
    if threshold is not None:
        settings.update(pos_iou_thr=threshold, neg_iou_thr=threshold, min_pos_iou=threshold)
    assigner, sampler = component(settings), component(head.train_cfg["sampler"])
    samples, overlaps = [], []
    for i, (boxes, ground_truth) in enumerate(zip(proposals, ground_truths)):
        result = assigner.assign(boxes, ground_truth)
        samples.append(sampler.sample(result, boxes, ground_truth, partial(hardness, outputs, head.bbox_head, i)))
        # The objects' own boxes are among the candidates.
        every = torch.cat([result.overlaps.new_ones(int(samples[-1].is_ground_truth.sum())), result.overlaps])
        overlaps.append(float(every.topk(min(topk, len(every))).values[-1]) if len(every) else 0.0)
    return samples, mean(overlaps)


def shift(boxes: Tensor, topk: int) -> float:
    """The `topk`-th smallest mean shift that positives (K, 4: deltas) should learn; infinite without any."""
    if len(boxes) == 0:
        return float("inf")
    shifts = boxes[:, :2].abs().mean(dim=1)
    return float(shifts.kthvalue(min(topk, len(shifts))).values)


def renew(memory: dict[str, Any], cfg: Mapping[str, Any]) -> None:
    """New settings from the means since the last time."""
    memory["threshold"] = max(cfg["initial_iou"], mean(memory["overlaps"]))
    middle = median(memory["shifts"])
    if middle >= SMALLEST:
        memory["beta"] = min(cfg["initial_beta"], middle)
    memory["overlaps"], memory["shifts"] = [], []
