"""MixUp for detection as YOLOX has it (Zhang et al., 2018; Ge et al., 2021)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.flip import flip
from zoo.training.augmentation.keypoints import joined
from zoo.training.augmentation.mosaic import fit, place, together
from zoo.training.augmentation.resize import resize_to

RATIOS = (0.5, 1.5)


def mixup(annotated: AnnotatedImage, other: AnnotatedImage, size: tuple[int, int], random: Generator) -> AnnotatedImage:
    """The mean of `image` and a second one, with the objects of both.

    The second is fitted into `size` (h, w) on gray, then resized by 0.5 to 1.5, mirrored every other time, and cut or
    filled up to the first one's shape at a random place.
    """
    second = place(fit(other, size), (0, 0), size)
    ratio = random.uniform(*RATIOS)
    second = resize_to(second, (int(size[1] * ratio), int(size[0] * ratio)))
    if random.random() < 0.5:
        second = flip(second)
    height, width = annotated.size
    h, w = second.size
    x, y = (int(random.integers(0, max(a - b, 0) + 1)) for a, b in ((w, width), (h, height)))
    return average(annotated, place(second, (-x, -y), (height, width)))


def average(first: AnnotatedImage, second: AnnotatedImage) -> AnnotatedImage:
    """Two images of one size laid over each other."""
    image = ((first.image.astype(np.uint16) + second.image) // 2).astype(np.uint8)
    return replace(
        first,
        image=image,
        boxes=np.concatenate([first.boxes, second.boxes]),
        labels=np.concatenate([first.labels, second.labels]),
        masks=together(first.masks, second.masks),
        ignored=together(first.ignored, second.ignored),
        keypoints=joined([first.keypoints, second.keypoints]),
    )
