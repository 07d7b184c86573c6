"""Sparse R-CNN and QueryInst (Sun et al., 2021; Fang et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from torch import Tensor

from zoo.models.criteria.table import losses_of
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.query_heads.embedding_rpn import EmbeddingRPNHead
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry


class SparseRCNN(TwoStageDetector):
    """A two-stage detector whose proposals are learned, each with a query."""

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        boxes, queries = cast(EmbeddingRPNHead, self.rpn_head)(geometries)
        detections = self.roi_head.predict(self.features(images), boxes, queries, geometries)
        return [d.to_output(geometry) for d, geometry in zip(detections, geometries)]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Losses of all stages."""
        boxes, queries = cast(EmbeddingRPNHead, self.rpn_head)(geometries)
        return losses_of(self.roi_head)(self.roi_head, self.features(images), boxes, queries, geometries, ground_truths)
