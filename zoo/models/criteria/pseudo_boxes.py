"""A teacher's detections as what a student learns from (Xu et al., Soft Teacher, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.targets import GroundTruth


@dataclass
class PseudoBoxes:
    """Objects of one image as a teacher sees them.

    boxes: (M, 4) xyxy. labels, scores: (M,). spread: (M,), how far the teacher's own regression moves a box that is
    jittered, relative to its sides; small where it is certain.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    spread: Tensor

    def where(self, kept: Tensor) -> PseudoBoxes:
        """Those where `kept` (M,) is true."""
        return PseudoBoxes(self.boxes[kept], self.labels[kept], self.scores[kept], self.spread[kept])

    def projected(self, matrix: Tensor, size: tuple[int, int]) -> PseudoBoxes:
        """In another view of (h, w). matrix: (3, 3)."""
        return PseudoBoxes(project(self.boxes, matrix, size), self.labels, self.scores, self.spread)

    def larger_than(self, sides: Sequence[float]) -> PseudoBoxes:
        """Those that are wider and higher than (width, height)."""
        widths, heights = (self.boxes[:, 2:] - self.boxes[:, :2]).unbind(dim=1)
        return self.where((widths > sides[0]) & (heights > sides[1]))

    def ground_truth(self) -> GroundTruth:
        """As targets."""
        return GroundTruth(self.boxes, self.labels)


def project(boxes: Tensor, matrix: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (M, 4) around the four mapped corners of each, cut at the borders of an image of (h, w). matrix: (3, 3)."""
    corners = boxes[:, [0, 1, 2, 1, 0, 3, 2, 3]].reshape(-1, 4, 2)
    mapped = torch.cat([corners, torch.ones_like(corners[..., :1])], dim=2) @ matrix.to(boxes).T
    points = mapped[..., :2] / mapped[..., 2:]
    extremes = torch.cat([points.amin(dim=1), points.amax(dim=1)], dim=1)
    x, y = extremes[:, 0::2].clamp(0, size[1]), extremes[:, 1::2].clamp(0, size[0])
    return torch.stack([x[:, 0], y[:, 0], x[:, 1], y[:, 1]], dim=1)
