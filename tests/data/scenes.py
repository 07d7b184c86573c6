"""Images made of colored rectangles, and what is in them: the source of all tiny datasets in this folder.

`python tests/data/make.py` writes them in each native layout. A rectangle's colour tells its class, so that a detector
without a network can find it (tests/benchmarks/stubs.py).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

COLOURS = ((230, 30, 30), (30, 200, 30), (40, 40, 230))  # RGB of class 0, 1, 2


class Thing(NamedTuple):
    """One object. box: x, y, width, height in pixels. special: crowd, difficult, group-of: whatever the layout has."""

    label: int
    box: tuple[int, int, int, int]
    special: bool = False


class Scene(NamedTuple):
    """One image of `size` (width, height)."""

    name: str
    size: tuple[int, int]
    things: tuple[Thing, ...]


SCENES = (
    Scene("000001", (120, 80), (Thing(0, (8, 8, 40, 30)), Thing(1, (60, 20, 50, 50)))),
    Scene("000002", (96, 128), (Thing(2, (10, 16, 70, 40)), Thing(0, (4, 80, 24, 24)), Thing(0, (40, 72, 40, 48)))),
    Scene("000003", (100, 100), ()),
    Scene("000004", (128, 96), (Thing(1, (20, 20, 30, 60)), Thing(2, (64, 8, 56, 80), special=True))),
)


def paint(scene: Scene) -> np.ndarray:
    """The image, RGB uint8 (H, W, 3)."""
    width, height = scene.size
    image = np.full((height, width, 3), 235, np.uint8)
    for thing in scene.things:
        x, y, w, h = thing.box
        image[y : y + h, x : x + w] = COLOURS[thing.label]
    return image
