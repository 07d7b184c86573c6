"""Gray patches at random positions (DeVries and Taylor, Cutout, 2017)."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

GRAY = 128


def erase(
    image: NDArray[np.uint8], random: Generator, patches: tuple[int, int] = (1, 5), most: float = 0.2
) -> NDArray[np.uint8]:
    """A copy with some gray patches, each up to this part of the image's height and width. image: (H, W, 3)."""
    height, width = image.shape[:2]
    image = image.copy()
    for _ in range(int(random.integers(patches[0], patches[1] + 1))):
        part = random.uniform(0, most)
        h, w = int(height * part), int(width * part)
        x, y = int(random.integers(width - w)), int(random.integers(height - h))
        image[y : y + h, x : x + w] = GRAY
    return image
