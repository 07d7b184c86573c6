"""The keypoints of an image's objects, on their way through the training transforms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Keypoints:
    """points: (M, P, 3) float32 as x, y in pixels and visibility, 0 for unknown. mirror: for each keypoint the one
    whose place it takes in a mirror image. pixel_center: where the center of pixel 0 is, 0.5 or 0."""

    points: NDArray[np.float32]
    mirror: tuple[int, ...]
    pixel_center: float = 0.5

    def select(self, kept: NDArray[np.bool_]) -> Keypoints:
        """Those of the objects where `kept` (M,) is true."""
        return replace(self, points=self.points[kept])

    def scaled(self, x: float, y: float) -> Keypoints:
        """In an image resized by these factors."""
        return replace(self, points=self.points * np.array([x, y, 1], np.float32))

    def shifted(self, x: float, y: float) -> Keypoints:
        """In an image whose corner moved by (x, y)."""
        return replace(self, points=self.points + np.array([x, y, 0], np.float32))

    def warped(self, matrix: NDArray[np.float64]) -> Keypoints:
        """Under an affine map (3, 3)."""
        positions = self.points[..., :2] @ matrix[:2, :2].T + matrix[:2, 2]
        return replace(self, points=np.concatenate([positions, self.points[..., 2:]], axis=-1).astype(np.float32))

    def mirrored(self, width: int) -> Keypoints:
        """In the mirror image of an image of this width: left and right change names, too."""
        points = self.points[:, list(self.mirror)].copy()
        points[..., 0] = width - 1 + 2 * self.pixel_center - points[..., 0]
        return replace(self, points=points)

    def clipped(self, height: int, width: int) -> Keypoints:
        """Those outside the image become unknown."""
        positions = self.points[..., :2]
        inside = ((positions >= 0) & (positions <= np.array([width, height]))).all(axis=-1)
        known = inside & (self.points[..., 2] > 0)
        return replace(self, points=np.where(known[..., None], self.points, 0).astype(np.float32))


def joined(parts: Sequence[Keypoints | None]) -> Keypoints | None:
    """Those of several images' objects, one after the other; None where there are none at all."""
    present = [part for part in parts if part is not None]
    return replace(present[0], points=np.concatenate([part.points for part in present])) if present else None
