"""COCO panoptic: panoptic quality (Kirillov et al., 2019) over things and stuff, and box and mask AP of the things.

PQ of a class = sum of IoU over matches / (matches + half the unmatched segments of either side); a match has IoU > 0.5.
Void pixels and crowds count for nothing. hotcoco computes it; its numbers equal those of panopticapi.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from hotcoco.panoptic import PanopticEval
from numpy.typing import NDArray

from benchmarks.datasets import panoptic_results
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.files import DatasetError, read_json, require_file, require_folder
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from zoo.coco_format.panoptic import INSTANCE
from zoo.system.atomic_write import atomic_write

MEASURES = ("box", "mask")
GROUPS = {"": "All", "_things": "Things", "_stuff": "Stuff"}


class CocoPanoptic:
    """Panoptic annotations with their PNGs, and for the things' AP the instance annotations; paths below `root`."""

    def __init__(
        self, name: str, root: Path, request: MetricConfig, annotations: str, segments: str, images: str, instances: str
    ) -> None:
        self.name, self.root, self.request = name, root, request
        self.notices: list[str] = []
        path = root / annotations
        ground_truth = read_json(path, name, ("images", "annotations", "categories"))
        self.categories: list[dict[str, Any]] = ground_truth["categories"]
        if not all("isthing" in row for row in self.categories):
            raise DatasetError(f"{path} does not say which categories are things: it has no panoptic annotations.")
        self.category_ids = [row["id"] for row in self.categories]
        self.classes = tuple(row["name"] for row in self.categories)
        check_classes(self.categories, request.classes, path)
        self.segments = require_folder(root / segments, name)
        self.annotations = {row["image_id"]: row for row in ground_truth["annotations"]}
        folder = require_folder(root / images, name)
        self.images = [DatasetImage(row["id"], folder / row["file_name"]) for row in ground_truth["images"]]
        if absent := [image.path.name for image in self.images if image.id not in self.annotations]:
            raise DatasetError(f"{path} has no annotation for {len(absent)} of its images, {absent[0]} first.")
        measures = tuple(m for m in request.measures if m in MEASURES)
        self.things = (
            CocoDataset(name, root, replace(request, measures=measures), instances, images) if measures else None
        )

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """pq, sq, rq, the same of things and stuff (pq_things, ...), and box and mask AP, as far as asked for."""
        quality = self.quality(predictions) if "panoptic" in self.request.measures else {}
        return quality | (self.things.evaluate(predictions) if self.things else {})

    def truth_files(self) -> list[Path]:
        """The PNG of each image."""
        return [self.segments / self.annotations[image.id]["file_name"] for image in self.images]

    def quality(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """Panoptic, segmentation and recognition quality by name; -1 for a group without any segment."""
        rows = [self.annotations[image_id] for image_id in predictions]
        for row in rows:
            require_file(self.segments / row["file_name"], self.name)
        ground_truth = {
            "images": [{"id": image_id} for image_id in predictions],
            "annotations": rows,
            "categories": self.categories,
        }
        with tempfile.TemporaryDirectory() as folder:
            results = {"annotations": [self.write(predictions[row["image_id"]], row, Path(folder)) for row in rows]}
            evaluator = PanopticEval(ground_truth, results, gt_folder=self.segments, pred_folder=folder)
            try:
                evaluator.evaluate()
            except (ValueError, OSError) as error:
                raise DatasetError(f"{self.name}: {error}.") from error
        numbers = evaluator.results()
        return {
            f"{name}{suffix}": float(numbers[group][name]) if numbers[group]["n"] else -1.0
            for suffix, group in GROUPS.items()
            for name in ("pq", "sq", "rq")
        }

    def write(self, one: Predictions, row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Write what was found in an image as a PNG; returns its annotation. row: the image's true annotation."""
        ids, kinds = self.segments_of(one, row["image_id"])
        segments = panoptic_results.write_image(ids, kinds, folder / row["file_name"])
        return {"image_id": row["image_id"], "file_name": row["file_name"], "segments_info": segments}

    def segments_of(self, one: Predictions, image_id: ImageId) -> tuple[NDArray[np.int64], dict[int, int]]:
        """(H, W) segment ids with VOID, category by segment, of what was found."""
        panoptic = one.panoptic
        if panoptic is None:
            raise DatasetError(f"the model gives no panoptic map for image {image_id}: {self.name} needs one.")
        void = panoptic % INSTANCE == len(self.category_ids)
        ids = np.where(void, panoptic_results.VOID, panoptic).astype(np.int64)
        present = [int(i) for i in np.unique(ids) if i != panoptic_results.VOID]
        return ids, {i: self.category_ids[i % INSTANCE] for i in present}


def check_classes(categories: Sequence[Mapping[str, Any]], classes: Sequence[str] | None, path: Path) -> None:
    """Raise DatasetError for a model that knows other things."""
    things = [row["name"] for row in categories if row["isthing"]]
    if classes is not None and list(classes) not in (things, [row["name"] for row in categories]):
        raise DatasetError(f"{path} has other classes than the model: {len(things)} things against {len(classes)}.")


def write(dataset: CocoPanoptic, predictions: Mapping[ImageId, Predictions], path: Path) -> None:
    """Write `path` and the folder of the same name without `.json`; both appear only when they are whole.

    Raises UsageError for a folder of that name that is there already and holds something.
    """
    panoptic_results.require_empty(path)
    folder, part = path.with_suffix(""), path.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    annotations = [dataset.write(one, dataset.annotations[image_id], part) for image_id, one in predictions.items()]
    os.replace(part, folder)
    atomic_write(path, json.dumps({"annotations": annotations}))
