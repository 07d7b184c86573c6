"""Detectors of masks without boxes (Wang et al., SOLO and SOLOv2, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.base import Detector
from zoo.models.layers.precision import full_precision
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry


class SOLO(Detector):
    """Backbone, neck and a head that predicts masks per grid cell."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        mask_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck)
        self.mask_head = component(mask_head, train_cfg=train_cfg, test_cfg=test_cfg)

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections with masks in output coordinates; their boxes are zero."""
        return self.mask_head.predict(full_precision(self.mask_head(self.features(images))), geometries)

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses."""
        return dense_losses(self.mask_head, self.mask_head(self.features(images)), geometries, ground_truths)
