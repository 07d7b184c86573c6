"""The masks of an annotation file, checked, and what is computed from them."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.coco_format.annotations import Annotations, CocoObject
from zoo.coco_format.problems import Problems
from zoo.coco_format.segmentation import EMPTY, RLE, area, problem, to_rle
from zoo.coco_format.sizes import Size
from zoo.errors import DataError

NO_AP = "so there is no mask AP; use --measure box"


def checked_masks(
    annotations: Annotations,
    objects: Sequence[CocoObject],
    sizes: Sequence[Size | None],
    consequence: str = NO_AP,
) -> list[RLE]:
    """The masks of some objects as run lengths. sizes: (height, width) of the file's images, None where unknown.

    consequence: what it means that an object has no mask, for the sentence. Raises DataError for objects without a
    mask, with their number, and for masks that are broken or of another size.
    """
    problems, empty, masks = Problems(annotations.path), [], []
    for one in objects:
        size = sizes[one.image]
        if size is None:
            problems.add(f"images[{one.image}]", "has no 'height' and 'width', which masks need")
            continue
        wrong = problem(one.segmentation, *size)
        if wrong == EMPTY:
            empty.append(one.number)
        elif wrong:
            problems.add(f"annotations[{one.number}].segmentation", wrong)
        else:
            masks.append(to_rle(one.segmentation, *size))
    if empty:
        raise DataError(f"{without_masks(annotations, empty, len(objects))}, {consequence}.")
    problems.check()
    return masks


def without_masks(annotations: Annotations, empty: Sequence[int], count: int) -> str:
    """The sentence about objects without a mask. empty: their positions in the file."""
    have = f"{len(empty):,} of {count:,} objects have no mask"
    reasons = "'segmentation' is missing, empty, or has fewer than three points"
    return f"{annotations.path}: {have} ({reasons}), the first is annotations[{empty[0]}]"


def area_of(one: CocoObject, size: Size | None) -> float:
    """The object's area: the file's own, else its mask's, else its box's."""
    if one.area is not None:
        return one.area
    if size is not None and one.segmentation is not None and problem(one.segmentation, *size) is None:
        return float(area(to_rle(one.segmentation, *size)))
    return one.bbox[2] * one.bbox[3] if one.bbox else 0.0
