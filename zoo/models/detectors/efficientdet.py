"""EfficientDet (Tan et al., Scalable and Efficient Object Detection, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from zoo.models.detectors.single_stage import SingleStageDetector
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry

DIVISOR = 128
"""Pixels of the coarsest level's cells: both sides of an input are multiples, so that levels meet exactly."""


class EfficientDet(SingleStageDetector):
    """A single-stage detector whose neck needs inputs of whole cells on all levels; in training they are made so."""

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses."""
        down, right = (-size % DIVISOR for size in images.shape[2:])
        return super().compute_losses(F.pad(images, (0, right, 0, down)), geometries, ground_truths)
