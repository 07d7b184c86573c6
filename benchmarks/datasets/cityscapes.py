"""Cityscapes in its own layout: COCO's box and mask AP, as MMDetection publishes them, and its own instance AP."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.datasets import cityscapes_metric, classes, coco_metric, coco_results, resampling
from benchmarks.datasets.files import DatasetError, require_folder
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from zoo.coco_format.annotations import CocoCategory
from zoo.coco_format.results import encode_masks
from zoo.coco_format.sizes import file_size
from zoo.errors import UnreadableImage

# The labels that have instances and are evaluated, by Cityscapes' own numbers.
CATEGORIES = {
    24: "person",
    25: "rider",
    26: "car",
    27: "truck",
    28: "bus",
    31: "train",
    32: "motorcycle",
    33: "bicycle",
}
IMAGE, GROUND_TRUTH = "_leftImg8bit.png", "_gtFine_instanceIds.png"


class Cityscapes:
    """One split. images, ground truth: its folders of cities below `root`."""

    def __init__(self, name: str, root: Path, request: MetricConfig, images: str, ground_truth: str) -> None:
        self.name, self.root, self.request = name, root, request
        self.notices: list[str] = []
        folder, self.ground_truth = require_folder(root / images, name), require_folder(root / ground_truth, name)
        categories = [CocoCategory(number, title, True, {}) for number, title in CATEGORIES.items()]
        indices = classes.match(categories, request, folder).categories
        self.category_ids: list[int] = [list(CATEGORIES)[index] for index in indices if index is not None]
        self.classes = tuple(CATEGORIES[number] for number in self.category_ids)
        paths = sorted(folder.glob(f"*/*{IMAGE}"))
        self.images = [DatasetImage(path.name.removesuffix(IMAGE), path) for path in paths]
        for one in self.images:
            check_map(self.ground_truth_file(one.id), one.path)
        if not self.images:
            raise DatasetError(f"{folder} has no */*{IMAGE}. `bench datasets {name}` shows the layout.")

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """box_ap, ..., mask_ap, ... as COCO computes them; with masks also instance_ap and instance_ap_50."""
        numbers: dict[str, float] = {}
        numbered = dict(enumerate((predictions[image_id] for image_id in sorted(predictions, key=str)), 1))
        ground_truth = self.coco_ground_truth(sorted(predictions, key=str))
        for measure in self.request.measures:
            numbers |= coco_metric.evaluate(
                ground_truth,
                coco_results.source(measure, numbered, self.category_ids),
                measure,
                list(numbered),
                self.category_ids,
                self.request.protocol,
                self.request.metric_backend,
            )
        if "mask" in self.request.measures:
            numbers |= cityscapes_metric.evaluate(predictions, self.instances, self.category_ids)
        return numbers

    def resample(self, predictions: Mapping[ImageId, Predictions]) -> Resampled:
        """The same of datasets drawn from the images in `predictions`."""
        ids = sorted(predictions, key=str)
        numbered = dict(enumerate((predictions[image_id] for image_id in ids), 1))
        document = self.coco_ground_truth(ids)
        source = partial(coco_results.source, predictions=numbered, category_ids=self.category_ids)
        parts = [resampling.resample(document, source, list(numbered), self.category_ids, self.request)]
        if "mask" in self.request.measures:
            ordered = {image_id: predictions[image_id] for image_id in ids}
            weigh = cityscapes_metric.weighing(ordered, self.instances, self.category_ids)
            parts.append(resampling.of_metric(weigh, ids, parts[0].parameters["drawn_from"]))
        return resampling.together(parts)

    def ground_truth_files(self) -> list[Path]:
        """The map of instances of each image."""
        return [self.ground_truth_file(image.id) for image in self.images]

    def ground_truth_file(self, image_id: ImageId) -> Path:
        """An image's map of instances."""
        return self.ground_truth / str(image_id).split("_")[0] / f"{image_id}{GROUND_TRUTH}"

    def instances(self, image_id: ImageId) -> NDArray[np.int32]:
        """(H, W): label * 1000 + number for an instance, the label alone for groups and everything else."""
        path = self.ground_truth_file(image_id)
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if image is None:
            raise DatasetError(f"{path} is missing or does not decode. `bench datasets {self.name}` shows the layout.")
        return image.astype(np.int32)

    def coco_ground_truth(self, image_ids: list[ImageId]) -> dict[str, Any]:
        """The images' instances as a COCO document, images numbered from 1; groups are crowds."""
        annotations: list[dict[str, Any]] = []
        images: list[dict[str, Any]] = []
        for number, image_id in enumerate(image_ids, 1):
            ids = self.instances(image_id)
            images.append({"id": number, "height": ids.shape[0], "width": ids.shape[1]})
            annotations += [row | {"image_id": number} for row in annotate(ids)]
        numbered = [row | {"id": number} for number, row in enumerate(annotations, 1)]
        categories = [{"id": i, "name": CATEGORIES[i]} for i in self.category_ids]
        return {"images": images, "annotations": numbered, "categories": categories}


def check_map(path: Path, image: Path) -> None:
    """Raise DatasetError where a map of instances, if it is there, is no 16-bit gray image of its image's size."""
    if not path.exists():
        return
    try:
        size, expected = file_size(path), file_size(image)
        with Image.open(path) as file:
            mode = file.mode
    except (OSError, UnreadableImage) as error:
        raise DatasetError(f"{path} does not decode: {error}.") from None
    if not mode.startswith("I"):
        raise DatasetError(f"{path} is of kind {mode}; instance ids are a gray image of 16 bits with one channel.")
    if size != expected and size and expected:
        raise DatasetError(f"{path} has {size[1]} x {size[0]} pixels, {image.name} has {expected[1]} x {expected[0]}.")


def annotate(ids: NDArray[np.int32]) -> list[dict[str, Any]]:
    """The instances and groups in a map of ids (H, W) as COCO annotations."""
    present = [int(i) for i in np.unique(ids) if (i // 1000 if i >= 1000 else i) in CATEGORIES]
    masks = encode_masks(np.stack([ids == i for i in present])) if present else []
    return [
        {
            "category_id": i // 1000 if i >= 1000 else i,
            "iscrowd": int(i < 1000),
            "area": int((ids == i).sum()),
            "bbox": bounds(ids == i),
            "segmentation": mask,
        }
        for i, mask in zip(present, masks)
    ]


def bounds(mask: NDArray[np.bool_]) -> list[int]:
    """x, y, width, height of a mask (H, W) that is not empty."""
    columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
    return [int(columns[0]), int(rows[0]), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1]
