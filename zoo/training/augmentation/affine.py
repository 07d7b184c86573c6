"""Random rotation, scaling, shear and shift of an image with its objects (what YOLOX does after a mosaic)."""

from __future__ import annotations

from dataclasses import replace
from math import radians, tan
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.mosaic import GRAY

Matrix = NDArray[np.float64]


def random_affine(
    annotated: AnnotatedImage,
    size: tuple[int, int],
    random: Generator,
    degrees: float = 10.0,
    shift: float = 0.1,
    scale: tuple[float, float] = (0.1, 2.0),
    shear: float = 2.0,
) -> AnnotatedImage:
    """A random view of the annotated, (h, w) pixels large.

    degrees: turns by up to so many. shift: the image's middle lies off the view's by up to this part of its size.
    scale: range of the factor. shear: in degrees, along each axis.
    """
    height, width = size
    turn = cv2.getRotationMatrix2D((0, 0), random.uniform(-degrees, degrees), random.uniform(*scale))
    slant = [tan(radians(random.uniform(-shear, shear))) for _ in range(2)]
    middle = [random.uniform(0.5 - shift, 0.5 + shift) * side for side in (width, height)]
    shearing = np.array([[1, slant[0], 0], [slant[1], 1, 0], [0, 0, 1]])
    turning = np.vstack([turn, [0, 0, 1]])
    centring = translation(-annotated.size[1] / 2, -annotated.size[0] / 2)
    return warp(annotated, translation(*middle) @ shearing @ turning @ centring, size)


def translation(x: float, y: float) -> Matrix:
    """(3, 3), moves by (x, y)."""
    return np.array([[1, 0, x], [0, 1, y], [0, 0, 1]], np.float64)


def warp(annotated: AnnotatedImage, matrix: Matrix, size: tuple[int, int]) -> AnnotatedImage:
    """The image under an affine map (3, 3), on a canvas of (h, w); a box becomes the box around its four corners."""
    height, width = size
    image: Any = cv2.warpAffine(annotated.image, matrix[:2], (width, height), borderValue=(GRAY, GRAY, GRAY))
    masks = None
    if annotated.masks is not None:
        flags = cv2.INTER_NEAREST
        warped: list[Any] = [cv2.warpAffine(mask, matrix[:2], (width, height), flags=flags) for mask in annotated.masks]
        masks = np.stack(warped) if warped else np.zeros((0, height, width), np.uint8)
    ignored = None if annotated.ignored is None else warp_boxes(annotated.ignored, matrix)
    boxes = warp_boxes(annotated.boxes, matrix)
    keypoints = None if annotated.keypoints is None else annotated.keypoints.warped(matrix)
    warped_image = replace(annotated, image=image, boxes=boxes, masks=masks, ignored=ignored, keypoints=keypoints)
    return warped_image.clipped(least=2)


def warp_boxes(boxes: NDArray[np.float32], matrix: Matrix) -> NDArray[np.float32]:
    """Boxes (M, 4) around the four mapped corners of each."""
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2) @ matrix[:2, :2].T + matrix[:2, 2]
    return np.concatenate([corners.min(axis=1), corners.max(axis=1)], axis=1).astype(np.float32)
