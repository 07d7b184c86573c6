"""Detectors whose head must know what is padding (Carion et al., DETR, 2020; Zhu et al., Deformable DETR, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.targets import GroundTruth
from zoo.models.transformer.padding import padding_mask
from zoo.structures import Detections, ImageGeometry


class DETR(SingleStageDetector):
    """Backbone, optional neck, and a transformer over object queries that does not look at padding."""

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        detections = self.bbox_head.predict(self.outputs(images, geometries), geometries)
        return [d.to_output(geometry) for d, geometry in zip(detections, geometries)]

    def outputs(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> Any:
        """What the head's `forward` returns."""
        return self.bbox_head(self.features(images), padding_mask(images, geometries))

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses."""
        return dense_losses(self.bbox_head, self.outputs(images, geometries), geometries, ground_truths)
