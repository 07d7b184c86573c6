"""An image with its objects, on its way through the training transforms."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from zoo.training.augmentation.keypoints import Keypoints


@dataclass(frozen=True)
class AnnotatedImage:
    """image: (H, W, 3) BGR uint8. boxes: (M, 4) float32 xyxy, in pixels of `image`. labels: (M,) int64, 0-based.

    masks: (M, H, W) uint8 of 0 and 1, or None where the method needs none. ignored: (I, 4), boxes of crowds. semantic:
    (H, W) uint8, the classes of all pixels, or None. keypoints: of the objects, or None.
    """

    image: NDArray[np.uint8]
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.uint8] | None = None
    ignored: NDArray[np.float32] | None = None
    semantic: NDArray[np.uint8] | None = None
    keypoints: Keypoints | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.image.shape[0], self.image.shape[1]

    def select(self, kept: NDArray[np.bool_]) -> AnnotatedImage:
        """Only the objects where `kept` (M,) is true."""
        masks = None if self.masks is None else self.masks[kept]
        keypoints = None if self.keypoints is None else self.keypoints.select(kept)
        return replace(self, boxes=self.boxes[kept], labels=self.labels[kept], masks=masks, keypoints=keypoints)

    def clipped(self, least: float = 1.0) -> AnnotatedImage:
        """Boxes cut at the borders, without objects of which fewer than `least` pixels are left in width or height."""
        height, width = self.size
        cut = replace(self, boxes=clip(self.boxes, height, width))
        if self.ignored is not None:
            cut = replace(cut, ignored=clip(self.ignored, height, width))
        if self.keypoints is not None:
            cut = replace(cut, keypoints=self.keypoints.clipped(height, width))
        sides = cut.boxes[:, 2:] - cut.boxes[:, :2]
        return cut.select(np.all(sides >= least, axis=1))


def clip(boxes: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """Boxes (M, 4) cut at the borders of an image."""
    limits = np.array([width, height, width, height], np.float32)
    clipped: NDArray[np.float32] = np.clip(boxes, 0, limits)
    return clipped
