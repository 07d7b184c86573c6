"""CondInst (Tian et al., 2020) and BoxInst (Tian et al., 2020)."""

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


class CondInst(SingleStageDetector):
    """FCOS whose detections come with the convolutions that make their masks.

    data_preprocessor: for BoxInst, `mean` and `std` with which images come from their colors.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        mask_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        data_preprocessor: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, bbox_head, neck, train_cfg, test_cfg)
        self.mask_head = component(mask_head, test_cfg=test_cfg)
        self.data_preprocessor = data_preprocessor or {}

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections with masks, in output coordinates."""
        features = self.features(images)
        detections = self.bbox_head.predict_with_parameters(full_precision(self.bbox_head(features)), geometries)
        shared = full_precision(self.mask_head(features))
        return [
            replace(
                d.to_output(geometry),
                masks=self.mask_head.masks(self.mask_head.logits(maps, parameters, priors), geometry),
            )
            for (d, parameters, priors), maps, geometry in zip(detections, shared, geometries)
        ]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Losses of the boxes and the masks."""
        features = self.features(images)
        shared = full_precision(self.mask_head(features))
        return dense_losses(self.bbox_head, self.bbox_head(features), geometries, ground_truths, shared, images, self)
