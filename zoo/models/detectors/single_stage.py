"""Detectors that predict boxes directly from a feature pyramid."""

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


class SingleStageDetector(Detector):
    """Backbone, optional neck and one dense head.

    The head's `forward(features)` returns maps, and its `predict(maps, geometries)` detections in input coordinates.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck)
        self.bbox_head = component(bbox_head, train_cfg=train_cfg, test_cfg=test_cfg)

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        detections = self.bbox_head.predict(full_precision(self.bbox_head(self.features(images))), geometries)
        return [d.to_output(geometry) for d, geometry in zip(detections, geometries)]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses."""
        return dense_losses(self.bbox_head, self.bbox_head(self.features(images)), geometries, ground_truths)


class YOLOX(SingleStageDetector):
    """YOLOX trains on images of varying size, which matters only to a trainer.

    input_size: (h, w) of training images. random_size_range: in multiples of 32. random_size_interval: iterations.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        input_size: Sequence[int] = (640, 640),
        size_multiplier: int = 32,
        random_size_range: Sequence[int] = (15, 25),
        random_size_interval: int = 10,
    ) -> None:
        super().__init__(backbone, bbox_head, neck, train_cfg, test_cfg)
        self.input_size, self.size_multiplier = tuple(input_size), size_multiplier
        self.random_size_range, self.random_size_interval = tuple(random_size_range), random_size_interval
