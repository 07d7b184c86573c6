"""Which JSON values may stand where in COCO's format (https://cocodataset.org/#format-data).

JSON has one kind of number, so 3 and 3.0 are the same; true and false are no numbers.
"""

from __future__ import annotations

import math
from typing import Any

# No image is this large; products of two such numbers are finite.
LARGEST = 1e15

# Ids of images, categories and annotations: any number or text, as the file has it.
Id = int | float | str


def is_number(value: Any) -> bool:
    """A finite number of a size that pixels, areas and scores can have."""
    return type(value) in (int, float) and -LARGEST < value < LARGEST


def is_id(value: Any) -> bool:
    """A text, or a finite number of any size."""
    return type(value) in (str, int) or (type(value) is float and math.isfinite(value))


def is_side(value: Any) -> bool:
    """A number of pixels: whole and at least 1."""
    return is_number(value) and value >= 1 and value == int(value)


def is_box(value: Any) -> bool:
    """[x, y, width, height]: four numbers, the last two at least 0."""
    return (
        type(value) is list
        and len(value) == 4
        and is_number(value[0])
        and is_number(value[1])
        and is_number(value[2])
        and is_number(value[3])
        and value[2] >= 0
        and value[3] >= 0
    )


def is_area(value: Any) -> bool:
    """Pixels, which may be a fraction of one, or none."""
    return is_number(value) and value >= 0


def is_flag(value: Any) -> bool:
    """0, 1, false or true."""
    return type(value) is bool or (is_number(value) and value in (0, 1))


def is_name(value: Any) -> bool:
    """A text that is not empty."""
    return type(value) is str and bool(value.strip())
