"""Detectors that find boxes as keypoints in heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.structures import Detections, Frame


class CenterNet(SingleStageDetector):
    """Backbone, neck and a head on heatmaps, whose cells are exact fractions of the padded input."""

    def predict(self, images: Tensor, frames: Sequence[Frame], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        outputs = self.bbox_head(self.features(images))
        found = self.bbox_head.predict(outputs, frames, (images.shape[2], images.shape[3]))
        return [d.to_output(frame) for d, frame in zip(found, frames)]
