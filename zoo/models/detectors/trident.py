"""TridentNet's detector (Li et al., Scale-Aware Trident Networks, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry


class TridentFasterRCNN(TwoStageDetector):
    """Faster R-CNN on several branches, whose detections are merged. Constructed like `TwoStageDetector`."""

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        features = self.features(images)
        repeated = list(geometries) * self.backbone.active_branches
        proposals = self.propose(features, repeated, *args)
        detections = self.roi_head.predict(features, proposals, repeated)
        detections = [d.to_output(geometry) for d, geometry in zip(detections, repeated)]
        return [self.roi_head.merge(detections[i :: len(geometries)]) for i in range(len(geometries))]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Losses of both stages over all branches, each of which learns from every image."""
        count = self.backbone.active_branches
        return super().compute_losses(images, list(geometries) * count, list(ground_truths) * count)
