"""YOLACT (Bolya et al., Real-time Instance Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.layers.precision import full_precision
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry


class YOLACT(SingleStageDetector):
    """Boxes with mask coefficients, and prototypes for the whole image; a mask is their combination.

    segm_head is needed in training only.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        mask_head: Mapping[str, Any],
        segm_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, bbox_head, neck, train_cfg, test_cfg)
        self.segm_head, self.mask_head = component(segm_head), component(mask_head)

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections with masks, in output coordinates."""
        features = self.features(images)
        detections = self.bbox_head.predict_with_coefficients(full_precision(self.bbox_head(features)), geometries)
        prototypes = full_precision(self.mask_head(features[0]))
        return [
            replace(d.to_output(geometry), masks=self.mask_head.masks(maps, coefficients, d.boxes, geometry))
            for (d, coefficients), maps, geometry in zip(detections, prototypes, geometries)
        ]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Losses of the boxes, the segmentation and the masks."""
        features = self.features(images)
        maps = full_precision((self.mask_head(features[0]), self.segm_head(features[0])))
        return dense_losses(self.bbox_head, self.bbox_head(features), geometries, ground_truths, *maps, self)
