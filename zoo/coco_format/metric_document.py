"""The ground truth as COCO's metric takes it: plain numbers for ids, and no field that it does not need.

pycocotools takes annotation id 0 for "not matched", sorts images by id, and keeps ids as floating-point numbers; so
everything is numbered from 1: images by their file names as people sort them, which is the order of COCO's own ids,
annotations and categories by their position.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zoo.coco_format.annotations import Annotations, CocoObject
from zoo.coco_format.image_files import natural_order
from zoo.coco_format.keypoints import checked_keypoints
from zoo.coco_format.masks import area_of, checked_masks
from zoo.coco_format.sizes import Size


def image_numbers(names: Sequence[str]) -> list[int]:
    """The number of each image, from 1."""
    numbers = [0] * len(names)
    for number, position in enumerate(sorted(range(len(names)), key=lambda i: natural_order(names[i])), 1):
        numbers[position] = number
    return numbers


def metric_document(
    annotations: Annotations,
    numbers: Sequence[int],
    categories: Mapping[int, int],
    sizes: Sequence[Size | None],
    measures: Sequence[str],
) -> dict[str, Any]:
    """A COCO document. numbers: of the images. categories: position in the file -> number, for those that count.

    measures: box, mask, ... Raises DataError for masks and keypoints that are wanted and missing or broken.
    """
    objects = [one for one in annotations.objects if one.category in categories]
    rows = [annotation(number, one, numbers, categories, sizes) for number, one in enumerate(objects, 1)]
    if "keypoint" in measures:
        for row, points in zip(rows, checked_keypoints(annotations, objects)):
            row |= {"keypoints": points, "num_keypoints": sum(visible > 0 for visible in points[2::3])}
    if "mask" in measures:
        for row, mask in zip(rows, checked_masks(annotations, objects, sizes)):
            row["segmentation"] = mask
    images: list[dict[str, Any]] = []
    for number, size in zip(numbers, sizes):
        images.append({"id": number} | ({"height": size[0], "width": size[1]} if size else {}))
    titles = [{"id": number, "name": annotations.categories[i].name} for i, number in categories.items()]
    return {"images": sorted(images, key=lambda row: row["id"]), "annotations": rows, "categories": titles}


def annotation(
    number: int,
    one: CocoObject,
    numbers: Sequence[int],
    categories: Mapping[int, int],
    sizes: Sequence[Size | None],
) -> dict[str, Any]:
    """One annotation of the document."""
    return {
        "id": number,
        "image_id": numbers[one.image],
        "category_id": categories[one.category],
        "bbox": one.bbox or [0, 0, 0, 0],
        "area": area_of(one, sizes[one.image]),
        "iscrowd": one.iscrowd,
    }
