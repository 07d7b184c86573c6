"""MaskFormer and Mask2Former (Cheng et al., 2021 and 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.base import Detector
from zoo.models.detectors.panoptic_fpn import in_output
from zoo.models.targets import GroundTruth
from zoo.models.transformer.padding import padding_mask
from zoo.structures import Detections, ImageGeometry


class MaskFormer(Detector):
    """Backbone, optional neck, a head of queries with classes and masks, and their fusion."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        panoptic_head: Mapping[str, Any],
        panoptic_fusion_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck)
        self.panoptic_head = component(panoptic_head, train_cfg=train_cfg, test_cfg=test_cfg)
        self.panoptic_fusion_head = component(panoptic_fusion_head, test_cfg=test_cfg)

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Panoptic maps, or detections with masks, or both, in output coordinates."""
        logits, masks = self.outputs(images, geometries)
        size = (images.shape[2], images.shape[3])
        return [self.fused(x, m, geometry, size) for x, m, geometry in zip(logits[-1], masks[-1], geometries)]

    def fused(self, logits: Tensor, masks: Tensor, geometry: ImageGeometry, size: tuple[int, int]) -> Detections:
        """One image's result in output coordinates.

        logits: (Q, num_classes + 1). masks: (Q, h, w) logits. size: of the padded input, (h, w).
        """

        def resize(masks: Tensor) -> Tensor:
            if not len(masks):
                return masks.new_zeros(0, *geometry.output_size)
            padded = F.interpolate(masks[None], size=size, mode="bilinear", align_corners=False)[0]
            return in_output(padded, geometry)

        detections: Detections = self.panoptic_fusion_head(logits, masks, resize)
        return detections

    def outputs(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> Any:
        """What the head's `forward` returns."""
        return self.panoptic_head(self.features(images), padding_mask(images, geometries))

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses. Stuff is learned as objects are: each class of pixels behind those of the things."""
        stuff = range(self.panoptic_head.num_things_classes, self.panoptic_head.num_classes)
        ground_truths = [with_stuff(on_input(ground_truth, images), stuff) for ground_truth in ground_truths]
        return dense_losses(self.panoptic_head, self.outputs(images, geometries), geometries, ground_truths)


def on_input(ground_truth: GroundTruth, images: Tensor) -> GroundTruth:
    """An image's objects with masks of the size of the padded input (N, 3, H, W)."""
    if ground_truth.masks is None:
        return ground_truth
    missing = [have - want for have, want in zip(images.shape[-2:], ground_truth.masks.shape[-2:])]
    return replace(ground_truth, masks=F.pad(ground_truth.masks, (0, missing[1], 0, missing[0])))


def with_stuff(ground_truth: GroundTruth, classes: range) -> GroundTruth:
    """An image's objects, and behind them one for each class of pixels in `classes` that its semantic map has."""
    if ground_truth.masks is None or ground_truth.semantic is None:
        return ground_truth
    present = [label for label in ground_truth.semantic.unique().tolist() if label in classes]
    labels = ground_truth.labels.new_tensor(present)
    masks = (ground_truth.semantic == labels[:, None, None]).to(ground_truth.masks.dtype)
    return replace(
        ground_truth,
        labels=torch.cat([ground_truth.labels, labels]),
        masks=torch.cat([ground_truth.masks, masks]),
    )
