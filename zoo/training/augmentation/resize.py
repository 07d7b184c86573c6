"""Resizing to one scale, to one of several, or to one between two (MMDetection's `value` and `range`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from zoo.preprocessing.preprocess import resized_size
from zoo.preprocessing.recipe import Resize
from zoo.training.augmentation.annotated_image import AnnotatedImage

Scale = tuple[int, int]
MODES = ("value", "range")


def choose_scale(scales: Sequence[Scale], mode: str, random: Generator) -> Scale:
    """The scale (width, height) to resize to.

    value: one of `scales`. range: longer and shorter side each drawn evenly between the least and the largest of them.
    """
    if len(scales) == 1:
        return scales[0]
    if mode == "value":
        return scales[int(random.integers(len(scales)))]
    longer, shorter = [max(scale) for scale in scales], [min(scale) for scale in scales]
    return (
        int(random.integers(min(longer), max(longer) + 1)),
        int(random.integers(min(shorter), max(shorter) + 1)),
    )


def resize(annotated: AnnotatedImage, step: Resize) -> AnnotatedImage:
    """Resized as the same step does at test time (`zoo.preprocessing.preprocess`), boxes and masks with it."""
    height, width = annotated.size
    return resize_to(annotated, resized_size(step, width, height))


def resize_to(annotated: AnnotatedImage, size: tuple[int, int]) -> AnnotatedImage:
    """Resized to exactly (width, height); masks and classes of pixels take the nearest one."""
    height, width = annotated.size
    factors = np.array([size[0] / width, size[1] / height] * 2, np.float32)
    image: Any = cv2.resize(annotated.image, size, interpolation=cv2.INTER_LINEAR)
    resized = replace(
        annotated, image=image, boxes=annotated.boxes * factors, masks=resize_masks(annotated.masks, size)
    )
    if annotated.ignored is not None:
        resized = replace(resized, ignored=annotated.ignored * factors)
    if annotated.keypoints is not None:
        resized = replace(resized, keypoints=annotated.keypoints.scaled(size[0] / width, size[1] / height))
    if annotated.semantic is not None:
        semantic: Any = cv2.resize(annotated.semantic, size, interpolation=cv2.INTER_NEAREST)
        resized = replace(resized, semantic=semantic)
    return resized.clipped(least=0)


def resize_masks(masks: NDArray[np.uint8] | None, size: tuple[int, int]) -> NDArray[np.uint8] | None:
    """(M, H, W) to (M, h, w) for size (w, h)."""
    if masks is None:
        return None
    resized = [cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST) for mask in masks]
    return np.stack(resized) if resized else np.zeros((0, size[1], size[0]), np.uint8)
