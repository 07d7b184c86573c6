"""Mirroring left to right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zoo.training.augmentation.annotated_image import Annotated


def flip(picture: Annotated) -> Annotated:
    """The mirror image."""
    width = picture.size[1]
    masks = None if picture.masks is None else np.ascontiguousarray(picture.masks[:, :, ::-1])
    ignored = None if picture.ignored is None else flip_boxes(picture.ignored, width)
    semantic = None if picture.semantic is None else np.ascontiguousarray(picture.semantic[:, ::-1])
    image, boxes = np.ascontiguousarray(picture.image[:, ::-1]), flip_boxes(picture.boxes, width)
    return replace(picture, image=image, boxes=boxes, masks=masks, ignored=ignored, semantic=semantic)


def flip_boxes(boxes: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Boxes (M, 4) in the mirror image of a picture of this width."""
    left, right = width - boxes[:, 2], width - boxes[:, 0]
    return np.stack([left, boxes[:, 1], right, boxes[:, 3]], axis=1)
