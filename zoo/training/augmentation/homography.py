"""Images that move, with the matrix (3, 3) that takes a point (x, y, 1) of the original image to its new position."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zoo.training.augmentation.colors import magnitude

Matrix = NDArray[np.float64]
GRAY = (128.0, 128.0, 128.0)


@dataclass(frozen=True)
class Moved:
    """image: (H, W, 3) BGR uint8. matrix: from the original image."""

    image: NDArray[np.uint8]
    matrix: Matrix

    @property
    def size(self) -> tuple[int, int]:
        """(h, w)."""
        return self.image.shape[0], self.image.shape[1]

    def warped(self, matrix: Matrix) -> Moved:
        """Under an affine map, in an image of the same size; what nothing covers is gray."""
        height, width = self.size
        image: Any = cv2.warpAffine(self.image, matrix[:2], (width, height), borderValue=GRAY)
        return Moved(image, matrix @ self.matrix)

    def resized(self, size: tuple[int, int]) -> Moved:
        """To exactly (width, height)."""
        height, width = self.size
        image: Any = cv2.resize(self.image, size, interpolation=cv2.INTER_LINEAR)
        return Moved(image, np.diag([size[0] / width, size[1] / height, 1.0]) @ self.matrix)

    def mirrored(self) -> Moved:
        """Left to right."""
        mirror = np.array([[-1.0, 0, self.size[1]], [0, 1, 0], [0, 0, 1]])
        return Moved(np.ascontiguousarray(self.image[:, ::-1]), mirror @ self.matrix)


def random_move(moved: Moved, random: Generator) -> Moved:
    """Rotated or sheared by up to 30 degrees, or shifted by a tenth of the image or not at all (the geometry of
    RandAugment, with the reference's magnitudes to a tenth)."""
    kind = MOVES[int(random.integers(len(MOVES)))]
    most = 0.1 if kind in (shift_x, shift_y) else 30.0
    sign = 1 if random.random() < 0.5 else -1
    return moved.warped(kind(moved.size, sign * magnitude(random, 0, most)))


def rotate(size: tuple[int, int], degrees: float) -> Matrix:
    """Clockwise, around the middle of the image's pixels."""
    middle = ((size[1] - 1) * 0.5, (size[0] - 1) * 0.5)
    return np.vstack([cv2.getRotationMatrix2D(middle, -degrees, 1.0), [0, 0, 1]])


def shear_x(size: tuple[int, int], degrees: float) -> Matrix:
    """Each row moved by its distance from the top."""
    return np.array([[1, math.tan(math.radians(degrees)), 0], [0, 1, 0], [0, 0, 1]])


def shear_y(size: tuple[int, int], degrees: float) -> Matrix:
    """Each column moved by its distance from the left."""
    return np.array([[1, 0, 0], [math.tan(math.radians(degrees)), 1, 0], [0, 0, 1]])


def shift_x(size: tuple[int, int], part: float) -> Matrix:
    """By a part of the width, in whole pixels."""
    return np.array([[1.0, 0, int(size[1] * part)], [0, 1, 0], [0, 0, 1]])


def shift_y(size: tuple[int, int], part: float) -> Matrix:
    """By a part of the height, in whole pixels."""
    return np.array([[1.0, 0, 0], [0, 1, int(size[0] * part)], [0, 0, 1]])


MOVES: tuple[Callable[[tuple[int, int], float], Matrix], ...] = (rotate, shear_x, shear_y, shift_x, shift_y)
