"""The masks of an annotation file, checked, and what is computed from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from zoo.coco_format.annotations import Annotations, CocoObject
from zoo.coco_format.problems import Problems
from zoo.coco_format.segmentation import EMPTY, RLE, area, problem, to_rle
from zoo.coco_format.sizes import Size
from zoo.errors import DataError


def checked_masks(annotations: Annotations, objects: Iterable[CocoObject], sizes: Sequence[Size | None]) -> list[RLE]:
    """The masks of some objects as run lengths. sizes: (height, width) of the file's images, None where unknown.

    Raises DataError for objects without a mask, with their number, and for masks that are broken or of another size.
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
        raise DataError(without_masks(annotations, empty))
    problems.check()
    return masks


def without_masks(annotations: Annotations, empty: Sequence[int]) -> str:
    """The sentence about objects without a mask."""
    count = f"{len(empty):,} of {len(annotations.objects):,} objects have no mask"
    return (
        f"{annotations.path}: {count} ('segmentation' is missing, empty, or has fewer than three points), the first is "
        f"annotations[{empty[0]}], so there is no mask AP; use --measure box."
    )


def area_of(one: CocoObject, size: Size | None) -> float:
    """The object's area: the file's own, else its mask's, else its box's."""
    if one.area is not None:
        return one.area
    if size is not None and one.segmentation is not None and problem(one.segmentation, *size) is None:
        return float(area(to_rle(one.segmentation, *size)))
    return one.bbox[2] * one.bbox[3] if one.bbox else 0.0
