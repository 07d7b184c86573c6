"""What a student learns from images that only its teacher has annotated (Xu et al., Soft Teacher, 2021)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.models.criteria.box_jitter import RegressingHead, RegressingRoIHead, spreads
from zoo.models.criteria.protocols import BoxHead, RoIHead, StandardHead
from zoo.models.criteria.pseudo_boxes import PseudoBoxes, project
from zoo.models.criteria.roi_sampling import box_targets, sample_regions
from zoo.models.criteria.standard_roi import hardness, sampled_box_losses
from zoo.models.criteria.state import loss_of
from zoo.models.layers.precision import full_precision
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.targets import GroundTruth, Samples
from zoo.models.views import Unlabeled
from zoo.structures import Detections, ImageGeometry

DEFAULTS = {
    "pseudo_label_initial_score_thr": 0.5,
    "rpn_pseudo_thr": 0.9,
    "cls_pseudo_thr": 0.9,
    "reg_pseudo_thr": 0.02,
    "jitter_times": 10,
    "jitter_scale": 0.06,
    "min_pseudo_bbox_wh": (0.01, 0.01),
}


class ScoringHead(BoxHead, RegressingHead, Protocol):
    """What these losses ask of a box head."""

    def scores(self, logits: Tensor, /) -> Tensor:
        """Scores (M, num_classes + 1) from class logits, the background last."""
        ...


class DetectingRoIHead(StandardHead, RegressingRoIHead, Protocol):
    """What these losses ask of a head on regions."""

    bbox_head: ScoringHead

    def predict_boxes(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry], /
    ) -> list[Detections]:
        """Detections without masks, in input coordinates. proposals: per image (M, 4) xyxy."""
        ...


class TwoStage(Protocol):
    """What these losses ask of student and teacher."""

    roi_head: DetectingRoIHead

    def features(self, images: Tensor, /) -> tuple[Tensor, ...]:
        """A pyramid of features (N, C, H, W)."""
        ...

    def propose(self, features: tuple[Tensor, ...], geometries: Sequence[ImageGeometry], /) -> list[Tensor]:
        """Proposals per image, (M, 4) xyxy in input coordinates."""
        ...

    def first_stage_losses(
        self,
        features: tuple[Tensor, ...],
        geometries: Sequence[ImageGeometry],
        ground_truths: Sequence[GroundTruth],
        /,
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The losses of the proposals, and the proposals (M, 4) per image."""
        ...


def unlabeled_losses(
    student: TwoStage, teacher: TwoStage, unlabeled: Unlabeled, cfg: Mapping[str, Any]
) -> dict[str, Tensor]:
    """Losses of a `TwoStageDetector` on images without annotations, of another that annotates them.

    The teacher detects in the weak view; its boxes become targets in the strong one: the surest by score for the
    proposals and the classes, the surest by jitter for the boxes. cfg: thresholds, named as in `DEFAULTS`.

    Returns:
        `loss_rpn_cls`, `loss_rpn_bbox`, `loss_cls` and `loss_bbox`.
    """
    with torch.no_grad():
        seen = teacher.features(unlabeled.weak.images)
    pseudo = annotate(teacher, seen, unlabeled, cfg)
    strong = unlabeled.strong
    features = student.features(strong.images)
    sure = [p.where(p.scores > cfg["rpn_pseudo_thr"]).ground_truth() for p in pseudo]
    losses, proposals = student.first_stage_losses(features, strong.geometries, sure)
    sure = [p.where(p.scores > cfg["cls_pseudo_thr"]).ground_truth() for p in pseudo]
    background = partial(backgrounds, teacher, seen, unlabeled)
    losses["loss_cls"] = class_loss(student.roi_head, features, proposals, sure, background)
    sure = [p.where(p.spread < cfg["reg_pseudo_thr"]).ground_truth() for p in pseudo]
    losses["loss_bbox"] = sampled_box_losses(student.roi_head, features, proposals, sure)[1]["loss_bbox"]
    return losses


@torch.no_grad()
def annotate(
    teacher: TwoStage, features: tuple[Tensor, ...], unlabeled: Unlabeled, cfg: Mapping[str, Any]
) -> list[PseudoBoxes]:
    """The teacher's detections above the first threshold, in the strong view. features: of the weak one."""
    weak, strong = unlabeled.weak, unlabeled.strong
    proposals = teacher.propose(features, weak.geometries)
    every = teacher.roi_head.predict_boxes(features, proposals, weak.geometries)
    likely = [one[one.scores > cfg["pseudo_label_initial_score_thr"]] for one in every]
    spread = spreads(teacher.roi_head, features, likely, weak.geometries, cfg["jitter_times"], cfg["jitter_scale"])
    pseudo = [PseudoBoxes(d.boxes, d.labels, d.scores, own) for d, own in zip(likely, spread)]
    original = [p.projected(m.inverse(), size) for p, m, size in zip(pseudo, weak.matrices, unlabeled.originals)]
    moved = [p.projected(m, size) for p, m, size in zip(original, strong.matrices, strong.sizes)]
    return [p.larger_than(cfg["min_pseudo_bbox_wh"]) for p in moved]


def class_loss(
    head: RoIHead,
    features: tuple[Tensor, ...],
    proposals: Sequence[Tensor],
    ground_truths: Sequence[GroundTruth],
    background: Callable[[Sequence[Samples]], Tensor],
) -> Tensor:
    """Classification of sampled regions, in which background counts as far as the teacher takes it for background.

    background: from the samples to the teacher's scores (K,) of background in the sampled regions.
    """
    outputs = partial(head.box_outputs, features)
    samples = sample_regions(proposals, ground_truths, head.train_cfg, partial(hardness, outputs, head.bbox_head))
    logits, _ = outputs(rois_of([s.regions for s in samples]))
    labels, weights, _ = box_targets(head.bbox_head, samples, ground_truths, head.train_cfg)
    weights = torch.where(labels == head.bbox_head.num_classes, background(samples), weights)
    return loss_of(head.bbox_head, "cls")(logits, labels, weights, weights.sum().clamp(min=1))


@torch.no_grad()
def backgrounds(
    teacher: TwoStage, features: tuple[Tensor, ...], unlabeled: Unlabeled, samples: Sequence[Samples]
) -> Tensor:
    """The teacher's scores (K,) of background in the regions that were sampled in the strong view."""
    weak, strong = unlabeled.weak, unlabeled.strong
    regions = [
        project(s.regions, there @ here.inverse(), size)
        for s, there, here, size in zip(samples, weak.matrices, strong.matrices, weak.sizes)
    ]
    logits, _ = full_precision(teacher.roi_head.box_outputs(features, rois_of(regions)))
    return teacher.roi_head.bbox_head.scores(logits)[:, -1]
