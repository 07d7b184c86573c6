"""Panoptic documents in COCO's format, annotations and results alike, read and checked.

https://cocodataset.org/#format-data: one row an image, with a PNG whose colors are segment ids, and its segments.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.request import ImageId
from zoo.coco_format.annotations import Annotations, CocoCategory, image_of, positions, read_document
from zoo.coco_format.image_files import portable
from zoo.coco_format.problems import Problems, shown
from zoo.coco_format.sizes import Size, file_size
from zoo.coco_format.values import is_area, is_flag, is_id, is_name

LARGEST_ID = 256**3 - 1  # of three bytes of color

Row = dict[str, Any]


def read_panoptic(path: Path) -> tuple[Annotations, dict[ImageId, Row]]:
    """Images and categories of a file of annotations, and its row of each image. Raises DataError."""
    document, problems = read_document(path), Problems(path)
    images = [image_of(index, row, problems, True) for index, row in enumerate(document["images"])]
    positions("images", document["images"], problems)
    known = positions("categories", document["categories"], problems)
    for index, row in enumerate(document["categories"]):
        if not is_name(row.get("name")):
            problems.add(f"categories[{index}].name", f"is {shown(row.get('name'))}, it should be a text")
        if not is_flag(row.get("isthing")):
            wanted = "0 or 1, which says whether it is a thing"
            problems.add(f"categories[{index}].isthing", f"is {shown(row.get('isthing'))}, it should be {wanted}")
    problems.check()
    categories = [CocoCategory(row["id"], row["name"], True, row) for row in document["categories"]]
    rows = by_image(document["annotations"], {image.id for image in images}, known, problems)
    if missing := [image.file_name for image in images if image.id not in rows]:
        raise DatasetError(f"{path} has no annotation for {len(missing)} of its images, {missing[0]} first.")
    return Annotations(path, images, categories, [], 0), rows


def read_panoptic_results(path: Path, images: Sequence[ImageId], categories: Mapping[Any, int]) -> dict[ImageId, Row]:
    """The row of each image in a file of results. Raises DataError for images without one."""
    document, problems = read_document(path, ("annotations",)), Problems(path)
    rows = by_image(document["annotations"], set(images), categories, problems)
    if missing := [image for image in images if image not in rows]:
        raise DatasetError(f"{path} has nothing for {len(missing):,} of {len(images):,} images, {missing[0]} first.")
    return rows


def by_image(
    rows: Sequence[Row], images: set[ImageId], categories: Mapping[Any, int], problems: Problems
) -> dict[ImageId, Row]:
    """The rows by image id, with slashes in file names. Raises DataError."""
    result: dict[ImageId, Row] = {}
    for index, row in enumerate(rows):
        image = row.get("image_id")
        if not is_id(image) or image not in images or image in result:
            wanted = "the id of an image that is listed, and has one row"
            problems.add(f"annotations[{index}].image_id", f"is {shown(image)}, it should be {wanted}")
            continue
        if not is_name(row.get("file_name")):
            problems.add(f"annotations[{index}].file_name", f"is {shown(row.get('file_name'))}, it should be a text")
            continue
        check_segments(index, row.get("segments_info"), categories, problems)
        result[image] = row | {"file_name": portable(row["file_name"])}
    problems.check()
    return result


def check_segments(index: int, segments: Any, categories: Mapping[Any, int], problems: Problems) -> None:
    """Look at the segments of one image."""
    field = f"annotations[{index}].segments_info"
    if not isinstance(segments, list) or not all(isinstance(segment, dict) for segment in segments):
        problems.add(field, f"is {shown(segments)}, it should be a list of objects")
        return
    ids = [segment.get("id") for segment in segments]
    for number, segment in enumerate(segments):
        value, category = segment.get("id"), segment.get("category_id")
        if type(value) is not int or not 0 < value <= LARGEST_ID or ids.count(value) > 1:
            problems.add(f"{field}[{number}].id", f"is {shown(value)}, it should be a number of its own from 1 up")
        if not is_id(category) or category not in categories:
            problems.add(f"{field}[{number}].category_id", f"is {shown(category)}, which is none of the categories")
        if not is_flag(segment.get("iscrowd", 0)):
            problems.add(f"{field}[{number}].iscrowd", f"is {shown(segment['iscrowd'])}, it should be 0 or 1")
        if "area" in segment and not is_area(segment["area"]):
            problems.add(f"{field}[{number}].area", f"is {shown(segment['area'])}, it should be a number of pixels")


def check_maps(folder: Path, rows: Mapping[ImageId, Row], sizes: Mapping[ImageId, Size | None], path: Path) -> None:
    """Raise DataError for PNGs that are there and have another size than their image. path: where the rows are from."""
    problems = Problems(path)
    for image, row in rows.items():
        size, expected = file_size(folder / row["file_name"]), sizes.get(image)
        if size and expected and size != expected:
            text = f"has {size[1]} x {size[0]} pixels, its image has {expected[1]} x {expected[0]}"
            problems.add(str(folder / row["file_name"]), text)
    problems.check()
