"""Images with labeled boxes: what COCO's, YOLO's and Pascal VOC's formats have in common.

Readers and writers of the three are `coco_boxes`, `yolo` and `voc`. Boxes are [x, y, width, height] in pixels from the
image's corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from zoo.coco_format.image_files import portable
from zoo.errors import DataError

Size = tuple[int, int]  # (height, width)
Polygons = list[list[float]]


class LabeledBox(NamedTuple):
    """One object. label: position of its class. ignored: COCO's crowds, VOC's difficult objects: neither hit nor miss.

    polygons: its outline as COCO has it, x and y in turns; None without one.
    """

    label: int
    box: list[float]
    ignored: bool = False
    polygons: Polygons | None = None


class LabeledImage(NamedTuple):
    """An image by its path below the folder of images. size: (height, width)."""

    name: str
    size: Size
    boxes: list[LabeledBox]


@dataclass
class LabeledImages:
    """A dataset. classes: names in the order of labels. notices: what the format that was read, or written, lacks."""

    classes: list[str]
    images: list[LabeledImage]
    notices: list[str] = field(default_factory=list)

    def note(self, count: int, text: str) -> None:
        """A notice about a number of things, where there are any."""
        if count:
            self.notices.append(f"{count:,} {text}")


def file_names(images: Sequence[LabeledImage], suffix: str, source: Path) -> list[str]:
    """A label file for each image: its path with another suffix.

    Raises DataError for paths that lead out of a folder, and for images that would share a file.
    """
    result: dict[str, str] = {}
    for image in images:
        path = PurePosixPath(portable(image.name))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0]:
            raise DataError(f"{source}: the image '{image.name}' is not below the folder of images.")
        name = str(path.with_suffix(suffix))
        if other := result.get(name):
            raise DataError(f"{source}: '{other}' and '{image.name}' would share the file {name}.")
        result[name] = image.name
    return list(result)


def area(one: LabeledBox) -> float:
    """Pixels of a box, or inside its polygons."""
    if one.polygons is None:
        return one.box[2] * one.box[3]
    return sum(abs(shoelace(polygon)) for polygon in one.polygons)


def shoelace(polygon: Sequence[float]) -> float:
    """The signed area of a polygon, x and y in turns."""
    x, y = polygon[0::2], polygon[1::2]
    return sum(a * d - c * b for a, b, c, d in zip(x, y, [*x[1:], x[0]], [*y[1:], y[0]])) / 2
