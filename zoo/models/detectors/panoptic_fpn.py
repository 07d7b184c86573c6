"""Panoptic FPN: Mask R-CNN and semantic segmentation on one pyramid (Kirillov et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.segmentation import panoptic_loss
from zoo.models.criteria.table import losses_of
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry


class PanopticFPN(TwoStageDetector):
    """Detections, fused with the semantic segmentation into a panoptic map.

    test_cfg: its part `panoptic` says which detections there are, and how both are fused. With `covers: image` in it
    the map of a network input leaves out the padding, as in Detectron2.
    """

    def __init__(
        self,
        semantic_head: Mapping[str, Any],
        panoptic_fusion_head: Mapping[str, Any],
        test_cfg: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(test_cfg={**test_cfg, "rcnn": test_cfg["panoptic"]}, **kwargs)
        self.semantic_head = component(semantic_head)
        self.panoptic_fusion_head = component(panoptic_fusion_head, test_cfg=test_cfg["panoptic"])
        self.covers_padding = test_cfg["panoptic"].get("covers", "input") == "input"

    def input_geometry(self, images: Tensor, size: tuple[int, int]) -> ImageGeometry:
        """In network-input coordinates, MMDetection's masks and panoptic maps cover the padding too."""
        if not self.covers_padding:
            return super().input_geometry(images, size)
        return ImageGeometry(size=size, output_size=(images.shape[2], images.shape[3]))

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections with masks and a panoptic map, in output coordinates."""
        result, logits = self.parts(images, geometries, *args)
        for d, x, geometry in zip(result, logits, geometries):
            d.panoptic = self.fused(d, x, geometry, (images.shape[2], images.shape[3]))
        return [d.to_output(geometry) for d, geometry in zip(result, geometries)]

    def parts(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> tuple[list[Detections], Tensor]:
        """Instances per image, and the segmentation's logits (N, C, h, w) of the padded input."""
        features = self.features(images)
        detections = self.roi_head.predict(features, self.propose(features, geometries, *args), geometries)
        return detections, self.semantic_head(features)

    def fused(self, detections: Detections, logits: Tensor, geometry: ImageGeometry, size: tuple[int, int]) -> Tensor:
        """One image's panoptic map in output coordinates. logits: (C, h, w). size: of the padded input, (h, w)."""
        logits = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
        whole = geometry.scale == (1.0, 1.0) and geometry.output_size == size
        panoptic: Tensor = self.panoptic_fusion_head(
            detections.masks, detections.labels, logits if whole else in_output(logits, geometry), detections.scores
        )
        return panoptic

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Losses of the detector, and of the segmentation where the targets have `semantic` classes."""
        compute = losses_of(self.roi_head)
        features = self.features(images)
        losses, proposals = self.first_stage_losses(features, geometries, ground_truths)
        segments = panoptic_loss(self.semantic_head, self.semantic_head(features), ground_truths)
        return {**losses, **compute(self.roi_head, features, proposals, geometries, ground_truths), **segments}


def in_output(logits: Tensor, geometry: ImageGeometry) -> Tensor:
    """Logits (C, H, W) of a padded input, cut to the image and resized to the output: (C, h, w)."""
    height, width = geometry.size
    inside = logits[None, :, :height, :width]
    return F.interpolate(inside, size=geometry.output_size, mode="bilinear", align_corners=False)[0]
