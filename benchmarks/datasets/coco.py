"""Datasets in COCO's own layout: COCO itself, DeepFashion, Objects365, and a user's own.

A JSON file with `images`, `annotations` and `categories`, and a folder of images (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets import coco_metric, coco_results, proposal_recall
from benchmarks.datasets.files import DatasetError, read_json, require_folder
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, MetricConfig
from zoo.coco_format.keypoints import PERSON


class CocoDataset:
    """A COCO annotation file and its images.

    annotations, images: where the two lie below `root`. name_parts: how many parts of an image's file name, from the
    end, lead to it below `images`; None for all. absent: such names that are annotated but not in the download.
    sort: take the categories by id; the order in the file is not the same in all of the dataset's files.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        request: MetricConfig,
        annotations: str,
        images: str,
        *,
        name_parts: int | None = None,
        absent: Sequence[str] = (),
        sort: bool = False,
    ) -> None:
        self.name, self.root, self.request = name, root, request
        path = root / annotations
        self.ground_truth = normalized(read_json(path, name, ("images", "annotations", "categories")), path)
        if "mask" in request.measures:
            require_masks(self.ground_truth, path)
        if "keypoint" in request.measures:
            require_keypoints(self.ground_truth, path)
        if sort:
            self.ground_truth["categories"].sort(key=lambda row: row["id"])
        self.category_ids = match_categories(self.ground_truth["categories"], request.classes, path)
        titles = {row["id"]: row["name"] for row in self.ground_truth["categories"]}
        self.classes = tuple(titles[i] for i in self.category_ids)
        folder = require_folder(root / images, name)
        names = {row["id"]: last_parts(row["file_name"], name_parts) for row in self.ground_truth["images"]}
        self.images = [DatasetImage(i, folder / file_name) for i, file_name in names.items() if file_name not in absent]

    def truth_files(self) -> list[Path]:
        """None: the ground truth is read when the dataset is opened."""
        return []

    def evaluate(self, predictions: Mapping[int | str, Predictions]) -> dict[str, float]:
        """COCO's numbers for each measure of the request, over the images in `found`."""
        numbers: dict[str, float] = {}
        for measure in self.request.measures:
            numbers |= coco_metric.evaluate(
                self.ground_truth,
                coco_results.source(measure, predictions, self.category_ids),
                measure,
                list(predictions),
                self.category_ids,
                self.request.protocol,
                self.request.engine,
            )
        if "proposal" in self.request.measures and self.request.protocol == "mmdet-v2":
            numbers |= proposal_recall.evaluate(self.ground_truth, predictions)
        return numbers


def normalized(ground_truth: dict[str, Any], path: Path) -> dict[str, Any]:
    """The document with the fields that evaluation needs and that small datasets often leave out."""
    for kind, keys in {"images": ("id", "file_name"), "categories": ("id", "name")}.items():
        for row in ground_truth[kind]:
            if not all(key in row for key in keys):
                raise DatasetError(f"{path}: an entry of '{kind}' lacks {' or '.join(map(repr, keys))}.")
    for row in ground_truth["annotations"]:
        if not {"id", "image_id", "category_id", "bbox"} <= row.keys():
            raise DatasetError(f"{path}: an annotation lacks 'id', 'image_id', 'category_id' or 'bbox'.")
        row.setdefault("iscrowd", 0)
        row.setdefault("area", row["bbox"][2] * row["bbox"][3])
    return ground_truth


def require_masks(ground_truth: dict[str, Any], path: Path) -> None:
    """Raise DatasetError where mask AP cannot be had: it needs masks, and for outlines the images' sizes."""
    if not all("segmentation" in row for row in ground_truth["annotations"]):
        raise DatasetError(f"{path}: an annotation lacks 'segmentation', so there is no mask AP; use --measure box.")
    if not all({"height", "width"} <= row.keys() for row in ground_truth["images"]):
        raise DatasetError(f"{path}: an entry of 'images' lacks 'height' or 'width', which mask AP needs.")


def require_keypoints(ground_truth: dict[str, Any], path: Path) -> None:
    """Raise DatasetError where keypoint AP cannot be computed: OKS is defined for a person's 17 keypoints."""
    for row in ground_truth["annotations"]:
        if "keypoints" not in row:
            raise DatasetError(
                f"{path}: an annotation lacks 'keypoints', so there is no keypoint AP; use --measure box."
            )
        if len(row["keypoints"]) != 3 * len(PERSON):
            raise DatasetError(
                f"{path}: annotation {row['id']} has {len(row['keypoints'])} numbers as keypoints; keypoint AP is "
                f"defined for a person's {len(PERSON)} keypoints, {3 * len(PERSON)} numbers."
            )
        row.setdefault("num_keypoints", sum(visible > 0 for visible in row["keypoints"][2::3]))


def last_parts(file_name: str, count: int | None) -> str:
    """The last `count` parts of a path, all of it for None."""
    return file_name if count is None else "/".join(file_name.split("/")[-count:])


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
            "the model was trained for another dataset."
        )
    return ids
