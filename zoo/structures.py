"""The value types that cross module borders.

Boxes are xyxy in pixels, float32. Sizes are (height, width). Labels are 0-based.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass
class ImageGeometry:
    """Where one image lies inside a network input, and where results should go.

    size: (h, w) of the image's content inside the padded input, in input pixels.
    output_size: (h, w) of the image that results refer to.
    scale: (sx, sy), input pixels per output pixel.
    offset: (x, y) of the content's corner inside the input; non-zero only for centered padding (CornerNet).
    """

    size: tuple[int, int]
    output_size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    @classmethod
    def of_input(cls, size: tuple[int, int]) -> ImageGeometry:
        """Results in network-input coordinates."""
        return cls(size=(int(size[0]), int(size[1])), output_size=(int(size[0]), int(size[1])))

    def to_output(self, boxes: Tensor) -> Tensor:
        """Boxes (..., 4) from input to output coordinates."""
        if self.scale == (1.0, 1.0) and self.offset == (0.0, 0.0):
            return boxes
        x = (boxes[..., 0::2] - self.offset[0]) / self.scale[0]
        y = (boxes[..., 1::2] - self.offset[1]) / self.scale[1]
        return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)

    def keypoints_to_output(self, keypoints: Tensor) -> Tensor:
        """Keypoints (..., 3) as x, y, score from input to output coordinates."""
        if self.scale == (1.0, 1.0) and self.offset == (0.0, 0.0):
            return keypoints
        x = (keypoints[..., 0] - self.offset[0]) / self.scale[0]
        y = (keypoints[..., 1] - self.offset[1]) / self.scale[1]
        return torch.stack([x, y, keypoints[..., 2]], dim=-1)


@dataclass
class Sample:
    """One preprocessed image.

    Attributes:
        image: (3, H, W) float32, normalized and padded.
        size: (h, w) before padding.
        scale: (sx, sy), input pixels per original pixel.
        original_size: (h, w) of the original image.
        offset: (x, y) of the content's corner inside `image`.
    """

    image: Tensor
    size: tuple[int, int]
    scale: tuple[float, float]
    original_size: tuple[int, int]
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def geometry(self) -> ImageGeometry:
        """Results in original image coordinates."""
        return ImageGeometry(self.size, self.original_size, self.scale, self.offset)


@dataclass
class Detections:
    """The detections in one image, best first.

    Attributes:
        boxes: (K, 4) float32 xyxy, in pixels.
        scores: (K,) float32, falling.
        labels: (K,) int64, 0-based.
        masks: (K, H, W) bool or None.
        panoptic: (H, W) int64 or None: label + 1000 * instance; void = number of classes.
        mask_scores: (K,) float32 or None: the scores by which mask AP ranks, where they differ from `scores` (Mask
            Scoring R-CNN).
        keypoints: (K, P, 3) float32 or None: x, y in pixels, score.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    masks: Tensor | None = None
    panoptic: Tensor | None = None
    mask_scores: Tensor | None = None
    keypoints: Tensor | None = None

    def __len__(self) -> int:
        return len(self.scores)

    @classmethod
    def empty(cls, like: Tensor) -> Detections:
        """No detections, on the device of `like`."""
        return cls(like.new_zeros((0, 4)), like.new_zeros((0,)), like.new_zeros((0,), dtype=torch.long))

    def __getitem__(self, index: Tensor | slice) -> Detections:
        """The detections that `index` selects (a mask, indices or a slice)."""
        rows = (self.boxes, self.scores, self.labels, self.masks, self.mask_scores, self.keypoints)
        boxes, scores, labels, masks, mask_scores, keypoints = (None if t is None else t[index] for t in rows)
        return Detections(boxes, scores, labels, masks, self.panoptic, mask_scores, keypoints)  # type: ignore[arg-type]

    def to_output(self, geometry: ImageGeometry) -> Detections:
        """Boxes and keypoints moved from input to output coordinates; masks are made in output coordinates already."""
        keypoints = None if self.keypoints is None else geometry.keypoints_to_output(self.keypoints)
        return replace(self, boxes=geometry.to_output(self.boxes), keypoints=keypoints)

    def to(self, device: torch.device | str) -> Detections:
        """The same detections on another device."""
        return Detections(*(None if t is None else t.to(device) for t in self.tensors()))  # type: ignore[arg-type]

    def tensors(self) -> tuple[Tensor | None, ...]:
        """The fields, in order."""
        return tuple(getattr(self, field.name) for field in fields(self))
