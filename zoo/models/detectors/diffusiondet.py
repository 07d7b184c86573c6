"""Detection as denoising of boxes (Chen et al., DiffusionDet, 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from zoo.models.coders.delta import clip
from zoo.models.criteria.diffusiondet import noisy_boxes
from zoo.models.criteria.table import dense_losses
from zoo.models.dense_heads.rpn import larger_than
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.layers.precision import full_precision
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry


class DiffusionDet(SingleStageDetector):
    """Backbone, neck, and a head that refines boxes of noise."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, bbox_head, neck, train_cfg, test_cfg)

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates, where boxes are clipped, too."""
        detections = self.bbox_head.predict(full_precision(self.features(images)), geometries)
        return [self.inside(d.to_output(geometry), geometry) for d, geometry in zip(detections, geometries)]

    def inside(self, detections: Detections, geometry: ImageGeometry) -> Detections:
        """Boxes clipped to an image in its output size, without empty ones."""
        detections = replace(detections, boxes=clip(detections.boxes, geometry.output_size))
        return detections[larger_than(detections.boxes, self.bbox_head.test_cfg.get("min_bbox_size", 0))]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses of ground truth with a random amount of noise."""
        features = self.features(images)
        time = torch.randint(0, self.bbox_head.timesteps, (len(images),), device=images.device)
        boxes = noisy_boxes(self.bbox_head, time, geometries, ground_truths)
        return dense_losses(self.bbox_head, self.bbox_head(features, boxes, time), geometries, ground_truths)
