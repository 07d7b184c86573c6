"""Sparse R-CNN and QueryInst (Sun et al., 2021; Fang et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from zoo.models.criteria.table import losses_of
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.targets import Truth
from zoo.structures import Detections, Frame


class SparseRCNN(TwoStageDetector):
    """A two-stage detector whose proposals are learned, each with a query."""

    def predict(self, images: Tensor, frames: Sequence[Frame], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        boxes, queries = self.rpn_head(frames)
        found = self.roi_head.predict(self.features(images), boxes, queries, frames)
        return [d.to_output(frame) for d, frame in zip(found, frames)]

    def compute_losses(self, images: Tensor, frames: Sequence[Frame], truths: Sequence[Truth]) -> dict[str, Tensor]:
        """Losses of all stages."""
        boxes, queries = self.rpn_head(frames)
        return losses_of(self.roi_head)(self.roi_head, self.features(images), boxes, queries, frames, truths)
