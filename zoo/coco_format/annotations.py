"""The one reader of annotation files in COCO's format (https://cocodataset.org/#format-data).

Everything is looked at once, when the file is opened: types, finite numbers, ids that are unique and that exist. What
is read refers to images and categories by their position in the file, so the file's own ids, whatever they are, mean
nothing behind this module.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from zoo.coco_format.problems import Problems, shown
from zoo.coco_format.values import Id, is_area, is_box, is_flag, is_id, is_name, is_side
from zoo.errors import DataError

PARTS = ("images", "annotations", "categories")


class CocoImage(NamedTuple):
    """An image. size: (height, width) where the file says it. row: everything that the file says."""

    id: Id
    file_name: str
    size: tuple[int, int] | None
    row: dict[str, Any]


class CocoCategory(NamedTuple):
    """A class. used: whether an annotation has it."""

    id: Id
    name: str
    used: bool
    row: dict[str, Any]


class CocoObject(NamedTuple):
    """An annotation. number: its position in the file. image, category: positions of these in the file.

    bbox: [x, y, width, height], None where the file has none. area: in pixels, None where the file does not say it.
    """

    number: int
    image: int
    category: int
    bbox: list[float] | None
    area: float | None
    iscrowd: int
    row: dict[str, Any]

    @property
    def segmentation(self) -> Any:
        """The mask as the file has it; None without one."""
        return self.row.get("segmentation")


class Annotations(NamedTuple):
    """A file's content. strays: how many annotations were left out since their image is not listed."""

    path: Path
    images: list[CocoImage]
    categories: list[CocoCategory]
    objects: list[CocoObject]
    strays: int


def read_annotations(path: Path, boxes: bool = True, named: bool = True) -> Annotations:
    """The annotations in `path`. boxes: every one needs a box. named: every image needs a `file_name`.

    Raises DataError with the first problems, each with its position in the file.
    """
    return checked(read_document(path), path, boxes, named)


def read_json(path: Path) -> Any:
    """A JSON document in UTF-8, with or without a byte order mark, or UTF-16 or 32 with one. Raises DataError."""
    if path.exists() and not path.is_file():
        raise DataError(f"{path} is not a regular file.")
    try:
        return json.loads(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} is not valid JSON: {error}.") from None


def read_document(path: Path, parts: Sequence[str] = PARTS) -> dict[str, list[dict[str, Any]]]:
    """A JSON object of lists of objects. Raises DataError where one of `parts` is not such a list."""
    document = read_json(path)
    for part in parts:
        if not isinstance(document, dict) or part not in document:
            raise DataError(f"{path} has no '{part}': it is not an annotation file in COCO's format.")
        if not isinstance(document[part], list):
            raise DataError(f"{path}: '{part}' is {shown(document[part])}, it should be a list.")
        for index, row in enumerate(document[part]):
            if not isinstance(row, dict):
                raise DataError(f"{path}: {part}[{index}] is {shown(row)}, it should be an object.")
    return document


def checked(document: dict[str, list[dict[str, Any]]], path: Path, boxes: bool, named: bool = True) -> Annotations:
    """The content of a document. Raises DataError."""
    problems = Problems(path)
    images = [image_of(index, row, problems, named) for index, row in enumerate(document["images"])]
    image_index = positions("images", document["images"], problems)
    category_index = positions("categories", document["categories"], problems)
    for index, row in enumerate(document["categories"]):
        if not is_name(row.get("name")):
            problems.add(f"categories[{index}].name", f"is {shown(row.get('name'))}, it should be a text")
    problems.check()
    reader = ObjectReader(problems, image_index, category_index, boxes)
    objects = [one for index, row in enumerate(document["annotations"]) if (one := reader.read(index, row))]
    problems.check()
    if document["annotations"] and reader.strays == len(document["annotations"]):
        raise DataError(f"{path}: no annotation is of an image that the file lists; image_id leads nowhere.")
    uses = Counter(one.category for one in objects)
    categories = [CocoCategory(r["id"], r["name"], bool(uses[i]), r) for i, r in enumerate(document["categories"])]
    return Annotations(path, images, categories, objects, reader.strays)


def shadowed(position: int, categories: Sequence[CocoCategory]) -> bool:
    """Whether a category is not used and another one has its name, as a root that exporters put in front."""
    return not categories[position].used and any(
        other.name == categories[position].name and (other.used or i < position)
        for i, other in enumerate(categories)
        if i != position
    )


def image_of(index: int, row: dict[str, Any], problems: Problems, named: bool) -> CocoImage:
    """One entry of `images`."""
    name = row.get("file_name")
    if not is_name(name) and (named or name is not None):
        problems.add(f"images[{index}].file_name", f"is {shown(name)}, it should be a text")
    sides = [row.get(key) for key in ("height", "width")]
    for key, side in zip(("height", "width"), sides):
        if not is_side(side) and key in row:
            problems.add(f"images[{index}].{key}", f"is {shown(side)}, it should be a number of pixels")
    size = (int(sides[0]), int(sides[1])) if all(map(is_side, sides)) else None  # type: ignore[arg-type]
    return CocoImage(row.get("id", 0), name if isinstance(name, str) else "", size, row)


def positions(part: str, rows: Sequence[dict[str, Any]], problems: Problems) -> dict[Id, int]:
    """The position of each id in a part of the file."""
    index: dict[Id, int] = {}
    for number, row in enumerate(rows):
        value: Any = row.get("id")
        if not is_id(value):
            problems.add(f"{part}[{number}].id", f"is {shown(value)}, it should be a number or a text")
        elif index.setdefault(value, number) != number:
            problems.add(f"{part}[{number}].id", f"is {shown(value)}, as is {part}[{index[value]}].id: ids are unique")
    return index


class ObjectReader:
    """Reads annotations and counts those of images that are not listed.

    An id of another kind than the listed ones (text instead of a number) is a problem; so is a category that is not
    listed, since then the file does not say what there is to find.
    """

    def __init__(self, problems: Problems, images: dict[Id, int], categories: dict[Id, int], boxes: bool) -> None:
        self.problems, self.images, self.categories, self.boxes = problems, images, categories, boxes
        self.kinds = {isinstance(value, str) for value in images}
        self.strays = 0

    def read(self, index: int, row: dict[str, Any]) -> CocoObject | None:
        """One annotation; None for one with a problem, and for one of an image that is not listed."""
        before = self.problems.count
        image, category = self.image(index, row), self.category(index, row)
        box, area, crowd = row.get("bbox"), row.get("area"), row.get("iscrowd", 0)
        if not is_box(box) and (self.boxes or box not in (None, [])):
            self.add(index, "bbox", box, "four finite numbers [x, y, width, height], the last two not negative")
        if "area" in row and not is_area(area):
            self.add(index, "area", area, "a finite number that is not negative")
        if not is_flag(crowd):
            self.add(index, "iscrowd", crowd, "0 or 1")
        if self.problems.count > before or image is None or category is None:
            return None
        return CocoObject(index, image, category, box or None, area, int(crowd), row)

    def image(self, index: int, row: dict[str, Any]) -> int | None:
        """The position of the annotation's image."""
        value: Any = row.get("image_id")
        if not is_id(value) or (self.images and isinstance(value, str) not in self.kinds):
            self.add(index, "image_id", value, "the id of an image, of the same type as in 'images'")
            return None
        self.strays += value not in self.images
        return self.images.get(value)

    def category(self, index: int, row: dict[str, Any]) -> int | None:
        """The position of the annotation's category."""
        value = row.get("category_id")
        if not is_id(value) or value not in self.categories:
            self.add(index, "category_id", value, "the id of one of 'categories'")
            return None
        return self.categories[value]

    def add(self, index: int, key: str, value: Any, wanted: str) -> None:
        """A value that is not what it should be."""
        self.problems.add(f"annotations[{index}].{key}", f"is {shown(value)}, it should be {wanted}")
