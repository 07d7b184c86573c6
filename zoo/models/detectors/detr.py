"""Detectors whose head must know what is padding (Carion et al., DETR, 2020; Zhu et al., Deformable DETR, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.targets import Truth
from zoo.models.transformer.padding import padding_mask
from zoo.structures import Detections, Frame


class DETR(SingleStageDetector):
    """Backbone, optional neck, and a transformer over object queries that does not look at padding."""

    def predict(self, images: Tensor, frames: Sequence[Frame], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        found = self.bbox_head.predict(self.outputs(images, frames), frames)
        return [d.to_output(frame) for d, frame in zip(found, frames)]

    def outputs(self, images: Tensor, frames: Sequence[Frame]) -> Any:
        """What the head's `forward` returns."""
        return self.bbox_head(self.features(images), padding_mask(images, frames))

    def compute_losses(self, images: Tensor, frames: Sequence[Frame], truths: Sequence[Truth]) -> dict[str, Tensor]:
        """The head's losses."""
        return dense_losses(self.bbox_head, self.outputs(images, frames), frames, truths)
