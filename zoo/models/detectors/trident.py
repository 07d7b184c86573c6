"""TridentNet's detector (Li et al., Scale-Aware Trident Networks, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.targets import Truth
from zoo.structures import Detections, Frame


class TridentFasterRCNN(TwoStageDetector):
    """Faster R-CNN on several branches, whose detections are merged. Constructed like `TwoStageDetector`."""

    def predict(self, images: Tensor, frames: Sequence[Frame], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        features = self.features(images)
        repeated = list(frames) * self.backbone.active_branches
        proposals = self.propose(features, repeated, *args)
        found = self.roi_head.predict(features, proposals, repeated)
        found = [d.to_output(frame) for d, frame in zip(found, repeated)]
        return [self.roi_head.merge(found[i :: len(frames)]) for i in range(len(frames))]

    def compute_losses(self, images: Tensor, frames: Sequence[Frame], truths: Sequence[Truth]) -> dict[str, Tensor]:
        """Losses of both stages over all branches, each of which learns from every picture."""
        count = self.backbone.active_branches
        return super().compute_losses(images, list(frames) * count, list(truths) * count)
