"""COCO's person keypoints: names, skeleton, and which change places in a mirror image.

COCO's coordinates are indices of pixels; boxes and networks count from a pixel's corner, so that the center of pixel 0
is at 0.5 (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.coco_format.annotations import Annotations, CocoObject
from zoo.coco_format.problems import Problems, shown
from zoo.coco_format.values import is_number

SIDES = ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
PERSON = ("nose", *(f"{side}_{part}" for part in SIDES for side in ("left", "right")))

# Pairs of indices that are joined by a line.
SKELETON = (
    *((15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10)),
    *((1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6)),
)


def mirrored_order(names: Sequence[str]) -> list[int]:
    """For each keypoint the one whose place it takes in a mirror image: `left_X` and `right_X` swap."""
    index = {name: i for i, name in enumerate(names)}
    return [index.get(other_side(name), i) for i, name in enumerate(names)]


def other_side(name: str) -> str:
    """`right_eye` for `left_eye` and the reverse; any other name as it is."""
    if "left" in name:
        return name.replace("left", "right")
    return name.replace("right", "left")


def names_of(category: dict[str, Any], count: int) -> tuple[str, ...]:
    """A category's keypoint names; a person's where it has none and `count` is 17, else unrelated ones."""
    names = category.get("keypoints")
    if names and len(names) == count:
        return tuple(map(str, names))
    return PERSON if count == len(PERSON) else tuple(map(str, range(count)))


def to_pixel_indices(keypoints: NDArray[np.float32], pixel_center: float) -> NDArray[np.float32]:
    """Keypoints (K, P, 3) as x, y, score in COCO's coordinates. pixel_center: where the network has that of pixel 0."""
    shift = np.array([pixel_center, pixel_center, 0.0], np.float32)
    moved: NDArray[np.float32] = keypoints - shift
    return moved


def checked_keypoints(annotations: Annotations, objects: Iterable[CocoObject]) -> list[list[float]]:
    """The keypoints of some objects: x, y and visibility of each of a person's. Raises DataError.

    Object keypoint similarity (OKS) is defined for these only.
    """
    problems, listed = Problems(annotations.path), []
    for one in objects:
        points = one.row.get("keypoints")
        if isinstance(points, list) and len(points) == 3 * len(PERSON) and all(map(is_number, points)):
            listed.append(points)
        else:
            wanted = f"{3 * len(PERSON)} numbers: x, y and visibility of a person's {len(PERSON)} keypoints"
            problems.add(f"annotations[{one.number}].keypoints", f"is {shown(points, 30)}, it should be {wanted}")
    problems.check()
    return listed
