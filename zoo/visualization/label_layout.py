"""Where labels go in a drawing, so that those of crowded boxes do not cover each other."""

from __future__ import annotations

from collections.abc import Sequence

Rectangle = tuple[int, int, int, int]  # x1, y1, x2, y2 in pixels

HIDDEN = 0.4
"""A label that others would cover by more than this share of its area is left out: nobody could read either."""


class LabelLayout:
    """Rectangles that labels of an image of (height, width) have taken."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.height, self.width = size
        self.taken: list[Rectangle] = []

    def find(self, corners: Sequence[tuple[int, int]], width: int, height: int) -> Rectangle | None:
        """The first free position for a label, else the one with the least overlap; None if none is readable.

        corners: (x, y) of the label's upper left corner, the best one first; each is moved into the image.
        """
        positions = [self.inside(x, y, width, height) for x, y in corners]
        covered = [sum(common(position, other) for other in self.taken) for position in positions]
        least = min(covered)
        if least > HIDDEN * width * height:
            return None
        position = positions[covered.index(least)]
        self.taken.append(position)
        return position

    def inside(self, x: int, y: int, width: int, height: int) -> Rectangle:
        """A position moved into the image, as far as it fits."""
        x, y = max(0, min(x, self.width - width)), max(0, min(y, self.height - height))
        return x, y, x + width, y + height


def common(one: Rectangle, other: Rectangle) -> int:
    """Pixels that two rectangles share."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(width, 0) * max(height, 0)


def around(box: Rectangle, width: int, height: int) -> list[tuple[int, int]]:
    """Corners for the label of a box: above it, inside at the top, below, inside at the bottom; left before right."""
    x1, y1, x2, y2 = box
    rows = (y1 - height, y1, y2, y2 - height)
    return [(x, y) for y in rows for x in (x1, x2 - width)]


def beside(point: tuple[int, int], width: int, height: int) -> list[tuple[int, int]]:
    """Corners for the label of a point (x, y): on it, then above and below it in turns."""
    x, y = point
    return [(x - width // 2, y - height // 2 + step * height) for step in (0, -1, 1, -2, 2, -3, 3)]
