"""Data sets in COCO's own layout: COCO itself, DeepFashion, Objects365, and a user's own.

A JSON file with `images`, `annotations` and `categories`, and a folder of pictures (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets import coco_metric
from benchmarks.datasets.found import Found
from benchmarks.datasets.layout import DatasetError, read_json, require_folder
from benchmarks.datasets.request import Picture, Request
from zoo.coco_format import to_results


class CocoDataset:
    """A COCO annotation file and its pictures.

    annotations, pictures: where the two lie below `root`.
    """

    def __init__(self, name: str, root: Path, request: Request, annotations: str, pictures: str) -> None:
        self.name, self.root, self.request = name, root, request
        path = root / annotations
        self.truth = normalised(read_json(path, name, ("images", "annotations", "categories")), path)
        self.category_ids = match_categories(self.truth["categories"], request.classes, path)
        names = {row["id"]: row["name"] for row in self.truth["categories"]}
        self.classes = tuple(names[i] for i in self.category_ids)
        folder = require_folder(root / pictures, name)
        self.images = [Picture(row["id"], folder / row["file_name"]) for row in self.truth["images"]]

    def evaluate(self, found: Mapping[int | str, Found]) -> dict[str, float]:
        """COCO's numbers for each measure of the request, over the pictures in `found`."""
        rows = coco_results(found, self.category_ids)
        numbers: dict[str, float] = {}
        for measure in self.request.measures:
            numbers |= coco_metric.evaluate(
                self.truth,
                rows,
                measure,
                list(found),
                self.category_ids,
                self.request.protocol,
                self.request.engine,
            )
        return numbers


def coco_results(found: Mapping[int | str, Found], category_ids: Sequence[int]) -> list[dict[str, Any]]:
    """Everything found as COCO results. category_ids: the data set's own number of each label."""
    return [
        row
        for image_id, one in found.items()
        for row in to_results(image_id, one.boxes, one.scores, one.labels, one.masks, category_ids)
    ]


def normalised(truth: dict[str, Any], path: Path) -> dict[str, Any]:
    """The document with the fields that evaluation needs and that small data sets often leave out."""
    for kind, keys in {"images": ("id", "file_name"), "categories": ("id", "name")}.items():
        for row in truth[kind]:
            if not all(key in row for key in keys):
                raise DatasetError(f"{path}: an entry of '{kind}' lacks {' or '.join(map(repr, keys))}.")
    for row in truth["annotations"]:
        if not {"id", "image_id", "category_id", "bbox"} <= row.keys():
            raise DatasetError(f"{path}: an annotation lacks 'id', 'image_id', 'category_id' or 'bbox'.")
        row.setdefault("iscrowd", 0)
        row.setdefault("area", row["bbox"][2] * row["bbox"][3])
    return truth


def match_categories(categories: Sequence[dict[str, Any]], classes: Sequence[str] | None, path: Path) -> list[int]:
    """The category id of each label.

    Label i is the i-th category, in the annotation file's order, of those that the model knows by name; so does
    MMDetection 2.x, whatever the order of its own list. Models without class names take all categories.
    """
    if classes is None:
        return [row["id"] for row in categories]
    wanted = set(classes)
    ids = [row["id"] for row in categories if row["name"] in wanted]
    if len(ids) != len(classes):
        absent = sorted(wanted - {row["name"] for row in categories})
        raise DatasetError(
            f"{path} lacks {len(absent)} of the model's {len(classes)} classes ({', '.join(absent[:5])}): "
            "the model was trained for another data set."
        )
    return ids
