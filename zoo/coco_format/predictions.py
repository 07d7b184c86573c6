"""Detections of any detector in COCO's results format, read and checked (https://cocodataset.org/#format-results)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.coco_format.annotations import read_json
from zoo.coco_format.keypoints import PERSON
from zoo.coco_format.problems import Problems, shown
from zoo.coco_format.segmentation import EMPTY, problem
from zoo.coco_format.sizes import Size
from zoo.coco_format.values import Id, is_box, is_id, is_number
from zoo.errors import DataError


class CocoResult(NamedTuple):
    """One detection. image, category: positions in the annotation file. row: as the file has it."""

    image: int
    category: int
    score: float
    row: dict[str, Any]


class Listed(NamedTuple):
    """What predictions refer to: the positions of the annotation file's images and categories by id, the images' sizes.

    skip_unknown_categories: leave out detections of categories that are not listed.
    """

    images: Mapping[Id, int]
    categories: Mapping[Id, int]
    sizes: Sequence[Size | None]
    skip_unknown_categories: bool = False


def read_predictions(path: Path, listed: Listed, measures: Sequence[str]) -> list[CocoResult]:
    """The detections in `path`, in the file's order. measures: box, proposal, mask, keypoint: what each must have.

    Raises DataError with the first problems.
    """
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path} holds {shown(rows, 30)}: predictions are a list of objects, COCO's results format.")
    problems = Problems(path)
    results = [one for index, row in enumerate(rows) if (one := read_row(index, row, listed, measures, problems))]
    problems.check()
    return results


def read_row(index: int, row: Any, listed: Listed, measures: Sequence[str], problems: Problems) -> CocoResult | None:
    """One detection; None for one with a problem."""
    if not isinstance(row, dict):
        problems.add(f"[{index}]", f"is {shown(row)}, it should be an object")
        return None
    before = problems.count
    # Proposals need no class.
    some = next(iter(listed.categories), None) if list(measures) == ["proposal"] else None
    image, category = row.get("image_id"), row.get("category_id", some)
    for key, value, known in (("image_id", image, listed.images), ("category_id", category, listed.categories)):
        if not is_id(value) or (value not in known and not (key == "category_id" and listed.skip_unknown_categories)):
            problems.add(f"[{index}].{key}", f"is {shown(value)}, which the annotations do not list")
    if not is_number(row.get("score")):
        problems.add(f"[{index}].score", f"is {shown(row.get('score'))}, it should be a finite number{of(row)}")
    if problems.count == before:
        check_shape(index, row, listed.sizes[listed.images[image]], measures, problems)  # type: ignore[index]
    if problems.count > before or category not in listed.categories:
        return None
    return CocoResult(listed.images[image], listed.categories[category], row["score"], row)  # type: ignore[index]


def check_shape(
    index: int, row: dict[str, Any], size: Size | None, measures: Sequence[str], problems: Problems
) -> None:
    """Look at the box, mask and keypoints of a detection in an image of `size`."""
    if {"box", "proposal"} & set(measures) and not is_box(row.get("bbox")):
        wanted = "four finite numbers [x, y, width, height], the last two not negative"
        problems.add(f"[{index}].bbox", f"is {shown(row.get('bbox'))}, it should be {wanted}{of(row)}")
    if "mask" in measures:
        wrong = (
            "cannot be checked: the image's size is unknown"
            if size is None
            else problem(row.get("segmentation"), *size)
        )
        if wrong:
            problems.add(f"[{index}].segmentation", f"{'is empty' if wrong == EMPTY else wrong}{of(row)}")
    if "keypoint" in measures:
        points = row.get("keypoints")
        if not (isinstance(points, list) and len(points) == 3 * len(PERSON) and all(map(is_number, points))):
            wanted = f"x, y and score of a person's {len(PERSON)} keypoints"
            problems.add(f"[{index}].keypoints", f"is {shown(points, 30)}, it should be {wanted}{of(row)}")


def of(row: dict[str, Any]) -> str:
    """Which image a detection is of."""
    return f" (image_id {shown(row.get('image_id'))})"
