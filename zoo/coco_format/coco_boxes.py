"""Labeled images in COCO's format (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from zoo.coco_format.annotations import Annotations, read_annotations, shadowed
from zoo.coco_format.image_files import find_images
from zoo.coco_format.labeled_images import LabeledBox, LabeledImage, LabeledImages, area
from zoo.coco_format.sizes import Size, checked_sizes
from zoo.errors import DataError
from zoo.system.atomic_write import atomic_write


def read(path: Path, images: Path | None = None) -> LabeledImages:
    """The boxes of an annotation file. images: the folder of the images, whose sizes are compared with the file's.

    Raises DataError, UnreadableImage.
    """
    annotations = read_annotations(path)
    positions = [i for i in range(len(annotations.categories)) if not shadowed(i, annotations.categories)]
    labels = {position: label for label, position in enumerate(positions)}
    boxes: list[list[LabeledBox]] = [[] for _ in annotations.images]
    for one in annotations.objects:
        if one.bbox is not None and one.category in labels:
            box = [float(value) for value in one.bbox]
            boxes[one.image].append(LabeledBox(labels[one.category], box, bool(one.iscrowd), polygons_of(one)))
    sizes = sizes_of(annotations, images)
    rows = zip(annotations.images, sizes, boxes)
    result = LabeledImages(
        [annotations.categories[position].name for position in positions],
        [LabeledImage(image.file_name, size, own) for image, size, own in rows],
    )
    result.note(annotations.strays, "annotations are of images that the file does not list, and are left out")
    masks = sum(isinstance(one.segmentation, dict) for one in annotations.objects)
    result.note(masks, "masks are run lengths, of which only the boxes are kept")
    return result


def polygons_of(one: Any) -> list[list[float]] | None:
    """An annotation's polygons."""
    return one.segmentation if isinstance(one.segmentation, list) and one.segmentation else None


def sizes_of(annotations: Annotations, images: Path | None) -> list[Size]:
    """(height, width) of each image. Raises DataError where nothing says it."""
    sizes = [image.size for image in annotations.images]
    if images is not None:
        sizes = checked_sizes(annotations, find_images(images, [image.file_name for image in annotations.images]))
    for index, size in enumerate(sizes):
        if size is None:
            raise DataError(f"{annotations.path}: images[{index}] has no size; name the folder of images (--images).")
    return [size for size in sizes if size is not None]


def write(data: LabeledImages, path: Path) -> None:
    """Write an annotation file; ids begin at 1, categories are in the order of labels. Ignored objects are crowds."""
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(data.images, 1):
        for one in image.boxes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": one.label + 1,
                    "bbox": one.box,
                    "area": area(one),
                    "iscrowd": int(one.ignored),
                    **({"segmentation": one.polygons} if one.polygons else {}),
                }
            )
    images = [
        {"id": number, "file_name": image.name, "height": image.size[0], "width": image.size[1]}
        for number, image in enumerate(data.images, 1)
    ]
    categories = [{"id": label + 1, "name": name} for label, name in enumerate(data.classes)]
    document = {"images": images, "annotations": annotations, "categories": categories}
    atomic_write(path, json.dumps(document), parents=True)
