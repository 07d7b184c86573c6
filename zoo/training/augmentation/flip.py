"""Mirroring left to right."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from zoo.training.augmentation.annotated_image import AnnotatedImage


def flip(annotated: AnnotatedImage) -> AnnotatedImage:
    """The mirror image."""
    width = annotated.size[1]
    masks = None if annotated.masks is None else np.ascontiguousarray(annotated.masks[:, :, ::-1])
    ignored = None if annotated.ignored is None else flip_boxes(annotated.ignored, width)
    semantic = None if annotated.semantic is None else np.ascontiguousarray(annotated.semantic[:, ::-1])
    image, boxes = np.ascontiguousarray(annotated.image[:, ::-1]), flip_boxes(annotated.boxes, width)
    keypoints = None if annotated.keypoints is None else annotated.keypoints.mirrored(width)
    mirrored = replace(annotated, image=image, boxes=boxes, masks=masks, ignored=ignored, semantic=semantic)
    return replace(mirrored, keypoints=keypoints)


def flip_boxes(boxes: NDArray[np.float32], width: int) -> NDArray[np.float32]:
    """Boxes (M, 4) in the mirror image of an image of this width."""
    left, right = width - boxes[:, 2], width - boxes[:, 0]
    return np.stack([left, boxes[:, 1], right, boxes[:, 3]], axis=1)
