"""Mosaic: four images around a random point (Bochkovskiy et al., YOLOv4, 2020; Ge et al., YOLOX, 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.keypoints import joined
from zoo.training.augmentation.resize import resize_to

GRAY = 114


def mosaic(images: Sequence[AnnotatedImage], size: tuple[int, int], random: Generator) -> AnnotatedImage:
    """Four images on a canvas of twice `size` (h, w), their inner corners meeting at a random point.

    Each is resized to fit `size`; the point lies in the middle half of the canvas. What reaches beyond the canvas is
    cut off, with its boxes and masks; what nothing covers is gray.
    """
    height, width = size
    x, y = int(random.uniform(0.5, 1.5) * width), int(random.uniform(0.5, 1.5) * height)
    placed = []
    for number, annotated in enumerate(images):
        scaled = fit(annotated, size)
        h, w = scaled.size
        left, top = x - w if number % 2 == 0 else x, y - h if number < 2 else y
        placed.append(place(scaled, (left, top), (2 * height, 2 * width)))
    return join(placed)


def fit(annotated: AnnotatedImage, size: tuple[int, int]) -> AnnotatedImage:
    """Resized, its shape kept, so that it just fits into (h, w)."""
    height, width = annotated.size
    ratio = min(size[0] / height, size[1] / width)
    return resize_to(annotated, (max(int(width * ratio), 1), max(int(height * ratio), 1)))


def place(annotated: AnnotatedImage, corner: tuple[int, int], canvas: tuple[int, int]) -> AnnotatedImage:
    """The image on a gray canvas (h, w), its upper left corner at (x, y), which may lie outside."""
    (left, top), (height, width) = corner, canvas
    h, w = annotated.size
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + w, width), min(top + h, height)
    target, source = np.s_[y1:y2, x1:x2], np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
    image = np.full((height, width, 3), GRAY, np.uint8)
    image[target] = annotated.image[source]
    masks = None
    if annotated.masks is not None:
        masks = np.zeros((len(annotated.masks), height, width), np.uint8)
        masks[:, target[0], target[1]] = annotated.masks[:, source[0], source[1]]
    offset = np.array([left, top, left, top], np.float32)
    ignored = None if annotated.ignored is None else annotated.ignored + offset
    keypoints = None if annotated.keypoints is None else annotated.keypoints.shifted(left, top)
    moved = AnnotatedImage(image, annotated.boxes + offset, annotated.labels, masks, ignored, keypoints=keypoints)
    return moved.clipped()


def join(placed: Sequence[AnnotatedImage]) -> AnnotatedImage:
    """Canvases of one size, each covered by its own image only, as one."""
    image = placed[0].image.copy()
    for other in placed[1:]:
        # Where an image happens to be gray itself, there is nothing to paint.
        covered = (other.image != GRAY).any(axis=2)
        image[covered] = other.image[covered]
    return AnnotatedImage(
        image,
        np.concatenate([p.boxes for p in placed]),
        np.concatenate([p.labels for p in placed]),
        together(*(p.masks for p in placed)),
        together(*(p.ignored for p in placed)),
        keypoints=joined([p.keypoints for p in placed]),
    )


def together(*parts: Any) -> Any:
    """The arrays that are not None as one; None where all are."""
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if present else None
