"""Images for measurements: generated ones where none are given, and any images as files for other processes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

if TYPE_CHECKING:
    from benchmarks.speed.workload import ImageSource

SIZE = (480, 640)  # the most frequent size in COCO


def generated(count: int, size: tuple[int, int] = SIZE) -> list[np.ndarray]:
    """`count` images (h, w, 3), BGR uint8, always the same: a gradient with rectangles, discs and mild noise.

    They cost a detector the same convolutions as a photograph; what post-processing costs depends on what is found.
    """
    return [draw(np.random.RandomState(seed), *size) for seed in range(count)]


def draw(random: np.random.RandomState, height: int, width: int) -> np.ndarray:
    """One generated image."""
    y, x = np.mgrid[0:height, 0:width]
    image = np.stack([x * 255 / width, y * 255 / height, (x + y) * 255 / (width + height)], -1).astype(np.uint8)
    for i in range(12):
        center = (int(random.randint(width)), int(random.randint(height)))
        extent = random.randint(10, height // 3, 2)
        color = tuple(int(c) for c in random.randint(0, 256, 3))
        if i % 2:
            cv2.circle(image, center, int(extent[0]) // 2, color, -1)
        else:
            corner = (center[0] + int(extent[0]), center[1] + int(extent[1]))
            cv2.rectangle(image, center, corner, color, -1)
    noise = random.randint(-8, 9, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def as_files(images: Sequence[ImageSource], folder: Path) -> list[Path]:
    """The images as files; arrays are written without loss."""
    files = []
    for i, image in enumerate(images):
        if isinstance(image, np.ndarray):
            files.append(folder / f"{i}.png")
            cv2.imwrite(str(files[-1]), image)
        else:
            files.append(Path(image))
    return files
