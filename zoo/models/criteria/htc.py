"""Losses of cascades that see semantics: Hybrid Task Cascade (Chen et al., 2019) and SCNet (Vu et al., 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.criteria.cascade_roi import BoxCascade, box_stage, refined
from zoo.models.criteria.protocols import MaskLearner
from zoo.models.criteria.roi_sampling import sample_regions
from zoo.models.criteria.segmentation import SegmentationHeadLike, segmentation_loss
from zoo.models.criteria.standard_roi import hardness, positive_rois, region_mask_losses
from zoo.models.roi_heads.protocols import Extractor
from zoo.models.roi_heads.scene import Features, Scene
from zoo.models.targets import GroundTruth, Samples
from zoo.structures import ImageGeometry


class ContextHead(Protocol):
    """A head of the whole image's labels. loss_weight: of its loss."""

    loss_weight: float

    def __call__(self, features: Sequence[Tensor], /) -> tuple[Tensor, Tensor]:
        """Class logits (N, num_classes) and context (N, C, 1, 1) of pyramid levels (N, C, H, W)."""
        ...


class SemanticHead(SegmentationHeadLike, Protocol):
    """A head of the classes of pixels."""

    def __call__(self, features: Sequence[Tensor], /) -> tuple[Tensor, Tensor]:
        """Class logits (N, num_classes, H, W) and features (N, C, H, W) of pyramid levels."""
        ...


class SemanticRoIHead(BoxCascade, Protocol):
    """A cascade with a semantic branch, which is None where there is none."""

    semantic_head: SemanticHead | None

    def mask_logits(self, features: Features, rois: Tensor, /) -> list[Tensor]:
        """Mask logits (K, num_classes, h, w) of regions (K, 5), stage by stage."""
        ...


class RelayMaskHead(MaskLearner, Protocol):
    """A mask head that sees the one before it."""

    def __call__(self, x: Tensor, previous: Tensor | None, /) -> tuple[Tensor, Tensor]:
        """Mask logits (K, num_classes, h, w) from region features, and features for the next mask head."""
        ...


class HtcHeadLike(SemanticRoIHead, Protocol):
    """What the losses of HTC ask of a head."""

    interleaved: bool
    mask_info_flow: bool
    mask_head: Sequence[RelayMaskHead]
    mask_roi_extractor: Sequence[Extractor]

    def region_features(self, extractor: Extractor, features: Features, rois: Tensor, /) -> Tensor:
        """What a head sees of regions (M, 5): (M, C, h, w)."""
        ...


class ScnetHeadLike(SemanticRoIHead, Protocol):
    """What the losses of SCNet ask of a head."""

    glbctx_head: ContextHead | None

    @property
    def final_mask_head(self) -> MaskLearner:
        """The only mask head."""
        ...


def htc_losses(
    head: HtcHeadLike,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """Losses of a `HybridTaskCascadeRoIHead`: `s0.` to `s2.` for the stages, and `loss_semantic_seg`.

    features: per level (N, C, H, W). proposals: per image (R, 4) xyxy. The last is left out where the targets have no
    `semantic` classes.
    """
    scene, losses = seen(head, features, ground_truths)
    regions = list(proposals)
    for stage, weight in enumerate(head.stage_loss_weights):
        run, cfg = box_stage(head, stage, scene, regions, ground_truths), head.train_cfg[stage]
        samples = run.samples
        if stage + 1 < head.num_stages or head.interleaved:
            regions = refined(head.bbox_head[stage], run, geometries)
        if head.interleaved:
            # Masks learn from the boxes that this stage has just found.
            mining = partial(hardness, partial(head.box_outputs, stage, scene), head.bbox_head[stage])
            samples = sample_regions(regions, ground_truths, cfg, mining)
        logits = mask_logits(head, stage, scene, samples)
        run.losses.update(region_mask_losses(head.mask_head[stage], logits, samples, ground_truths, cfg["mask_size"]))
        losses.update({f"s{stage}.{name}": value * weight for name, value in run.losses.items()})
    return losses


def mask_logits(head: HtcHeadLike, stage: int, scene: Scene, samples: Sequence[Samples]) -> Tensor:
    """A stage's mask logits (K, C, h, w) of the positive regions, through the mask heads before it."""
    x = head.region_features(head.mask_roi_extractor[stage], scene, positive_rois(samples))
    previous = None
    for before in range(stage if head.mask_info_flow else 0):
        _, previous = head.mask_head[before](x, previous)
    return head.mask_head[stage](x, previous)[0]


def scnet_losses(
    head: ScnetHeadLike,
    features: Sequence[Tensor],
    proposals: Sequence[Tensor],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """Losses of an `SCNetRoIHead`: `s0.` to `s2.` for the boxes, `loss_mask`, `loss_glbctx`, `loss_semantic_seg`."""
    scene, losses = seen(head, features, ground_truths)
    if head.glbctx_head is not None:
        logits, scene.context = head.glbctx_head(features)
        losses["loss_glbctx"] = context_loss(head.glbctx_head, logits, ground_truths)
    regions = list(proposals)
    for stage, weight in enumerate(head.stage_loss_weights):
        run = box_stage(head, stage, scene, regions, ground_truths)
        losses.update({f"s{stage}.{name}": value * weight for name, value in run.losses.items()})
        if stage + 1 < head.num_stages:
            regions = refined(head.bbox_head[stage], run, geometries)
    masks, size = head.mask_logits(scene, positive_rois(run.samples))[0], head.train_cfg[-1]["mask_size"]
    own = region_mask_losses(head.final_mask_head, masks, run.samples, ground_truths, size)
    return {**losses, "loss_mask": own["loss_mask"] * sum(head.stage_loss_weights)}


def seen(
    head: SemanticRoIHead, features: Sequence[Tensor], ground_truths: Sequence[GroundTruth]
) -> tuple[Scene, dict[str, Tensor]]:
    """What regions see, and the loss of the semantic segmentation."""
    if head.semantic_head is None:
        return Scene(features), {}
    logits, semantic = head.semantic_head(features)
    return Scene(features, semantic), segmentation_loss(head.semantic_head, logits, ground_truths, "loss_semantic_seg")


def context_loss(context_head: ContextHead, logits: Tensor, ground_truths: Sequence[GroundTruth]) -> Tensor:
    """The loss of logits (N, C) of the classes that are in the images."""
    wanted = torch.zeros_like(logits)
    for row, ground_truth in zip(wanted, ground_truths):
        row[ground_truth.labels] = 1
    loss: Tensor = context_head.loss_weight * F.binary_cross_entropy_with_logits(logits, wanted)
    return loss
