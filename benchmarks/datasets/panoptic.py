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
from typing import Any, NamedTuple

import numpy as np
from hotcoco.panoptic import PanopticEval
from numpy.typing import NDArray

from benchmarks.datasets import panoptic_matches, panoptic_results, resampling
from benchmarks.datasets.classes import few
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.files import DatasetError, require_file, require_folder
from benchmarks.datasets.panoptic_file import check_maps, read_panoptic, read_panoptic_results
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from benchmarks.datasets.results_file import ResultsFile
from zoo.coco_format.annotations import CocoCategory
from zoo.coco_format.image_files import find_images
from zoo.coco_format.panoptic import INSTANCE
from zoo.coco_format.sizes import checked_sizes, file_size
from zoo.errors import UsageError
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
        path = require_file(root / annotations, name)
        file, self.annotations = read_panoptic(path)
        self.categories = ordered(file.categories, request.classes, path)
        self.category_ids: list[Any] = [row.id for row in self.categories]
        self.classes = tuple(row.name for row in self.categories)
        self.segments = require_folder(root / segments, name)
        folder = root / images if request.predictions else require_folder(root / images, name)
        paths = find_images(folder, [image.file_name for image in file.images])
        self.images = [DatasetImage(image.id, position) for image, position in zip(file.images, paths)]
        self.sizes = dict(zip((image.id for image in file.images), checked_sizes(file, paths)))
        check_maps(self.segments, self.annotations, self.sizes, path)
        measures = tuple(m for m in request.measures if m in MEASURES)
        things = tuple(row.name for row in self.categories if row.row["isthing"])
        of_things = replace(request, measures=measures, classes=None if request.predictions else things)
        self.things = CocoDataset(name, root, of_things, instances, images) if measures else None

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """pq, sq, rq, the same of things and stuff (pq_things, ...), and box and mask AP, as far as asked for."""
        quality = self.quality(predictions) if "panoptic" in self.request.measures else {}
        return quality | (self.things.evaluate(predictions) if self.things else {})

    def resample(self, predictions: Mapping[ImageId, Predictions]) -> Resampled:
        """The same of datasets drawn from the images in `predictions`."""
        parts = []
        if "panoptic" in self.request.measures:
            with tempfile.TemporaryDirectory() as folder:
                rows = {i: self.write(one, self.annotations[i], Path(folder)) for i, one in predictions.items()}
                parts.append(self.resample_rows(rows, Path(folder)))
        return resampling.together([*parts, *([self.things.resample(predictions)] if self.things else [])])

    def resample_results(self, results: PanopticResults | ResultsFile, limit: int | None = None) -> Resampled:
        """The numbers of such results, of datasets drawn from the first `limit` images."""
        if isinstance(results, ResultsFile):
            assert self.things is not None
            return self.things.resample_results(results, limit)
        return self.resample_rows({image.id: results.rows[image.id] for image in self.images[:limit]}, results.folder)

    def resample_rows(self, rows: Mapping[ImageId, Mapping[str, Any]], folder: Path) -> Resampled:
        """The same for rows of results, whose PNGs are in `folder`."""
        labels = {category: label for label, category in enumerate(self.category_ids)}
        table = np.zeros((len(rows), len(labels), 4))
        for number, (i, row) in enumerate(rows.items()):
            wanted = (panoptic_matches.read_ids(self.ground_truth_file(i)), self.annotations[i]["segments_info"])
            ours = (panoptic_matches.read_ids(folder / row["file_name"]), row["segments_info"])
            table[number] = panoptic_matches.counts(wanted, ours, labels)
        things = np.array([bool(row.row["isthing"]) for row in self.categories])
        groups = {"": np.ones_like(things), "_things": things, "_stuff": ~things}
        segments = [(i, sorted(s["id"] for s in self.annotations[i]["segments_info"])) for i in rows]
        drawn_from = resampling.digest_of([self.classes, *segments])
        return resampling.of_metric(panoptic_matches.weighing(table, groups), list(rows), drawn_from)

    def read_results(self, path: Path) -> PanopticResults | ResultsFile:
        """Panoptic results and the folder of PNGs beside them, or results of the things. Raises DataError."""
        if self.things is not None and "panoptic" not in self.request.measures:
            return self.things.read_results(path)
        if self.things is not None:
            raise UsageError("panoptic results have no scores, so there is no AP: use --measure panoptic.")
        positions = {category: label for label, category in enumerate(self.category_ids)}
        rows = read_panoptic_results(path, [image.id for image in self.images], positions)
        folder = require_folder(path.with_suffix(""), self.name)
        for row in rows.values():
            require_file(folder / row["file_name"], self.name)
        check_maps(folder, rows, {i: file_size(self.ground_truth_file(i)) for i in rows}, path)
        return PanopticResults(rows, folder, sum(len(row["segments_info"]) for row in rows.values()))

    def evaluate_results(self, results: PanopticResults | ResultsFile, limit: int | None = None) -> dict[str, float]:
        """The numbers of such results, over the first `limit` images."""
        if isinstance(results, ResultsFile):
            assert self.things is not None
            return self.things.evaluate_results(results, limit)
        return self.compare({image.id: results.rows[image.id] for image in self.images[:limit]}, results.folder)

    def ground_truth_files(self) -> list[Path]:
        """The PNG of each image."""
        return [self.ground_truth_file(image.id) for image in self.images]

    def ground_truth_file(self, image_id: ImageId) -> Path:
        """The PNG of an image."""
        return self.segments / self.annotations[image_id]["file_name"]

    def quality(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """Panoptic, segmentation and recognition quality by name; -1 for a group without any segment."""
        with tempfile.TemporaryDirectory() as folder:
            rows = {i: self.write(one, self.annotations[i], Path(folder)) for i, one in predictions.items()}
            return self.compare(rows, Path(folder))

    def compare(self, rows: Mapping[ImageId, Mapping[str, Any]], folder: Path) -> dict[str, float]:
        """The same for rows of results, whose PNGs are in `folder`."""
        categories = [row.row | {"id": number} for number, row in enumerate(self.categories, 1)]
        ground_truth = {
            "images": [{"id": number} for number in range(1, len(rows) + 1)],
            "annotations": self.numbered([self.annotations[i] for i in rows]),
            "categories": categories,
        }
        for i in rows:
            require_file(self.ground_truth_file(i), self.name)
        results = {"annotations": self.numbered(list(rows.values()))}
        try:
            evaluator = PanopticEval(ground_truth, results, gt_folder=self.segments, pred_folder=folder)
            evaluator.evaluate()
        except (ValueError, OSError, KeyError, RuntimeError) as error:
            raise DatasetError(f"{self.name}: {error}.") from error
        numbers = evaluator.results()
        return {
            f"{name}{suffix}": float(numbers[group][name]) if numbers[group]["n"] else -1.0
            for suffix, group in GROUPS.items()
            for name in ("pq", "sq", "rq")
        }

    def numbered(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Rows whose images and categories are numbered from 1."""
        numbers = {category: number for number, category in enumerate(self.category_ids, 1)}
        listed = []
        for number, row in enumerate(rows, 1):
            segments = [s | {"category_id": numbers[s["category_id"]]} for s in row["segments_info"]]
            segments = [s | {"iscrowd": int(s.get("iscrowd", 0))} for s in segments]
            listed.append({**row, "image_id": number, "segments_info": segments})
        return listed

    def write(self, one: Predictions, row: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Write what was found in an image as a PNG; returns its annotation. row: the image's true annotation."""
        ids, kinds = self.segments_of(one, row["image_id"])
        name = Path(row["file_name"]).name
        segments = panoptic_results.write_image(ids, kinds, folder / name)
        return {"image_id": row["image_id"], "file_name": name, "segments_info": segments}

    def segments_of(self, one: Predictions, image_id: ImageId) -> tuple[NDArray[np.int64], dict[int, int]]:
        """(H, W) segment ids with VOID, category by segment, of what was found."""
        panoptic = one.panoptic
        if panoptic is None:
            raise DatasetError(f"the model gives no panoptic map for image {image_id}: {self.name} needs one.")
        void = panoptic % INSTANCE == len(self.category_ids)
        ids = np.where(void, panoptic_results.VOID, panoptic).astype(np.int64)
        present = [int(i) for i in np.unique(ids) if i != panoptic_results.VOID]
        return ids, {i: self.category_ids[i % INSTANCE] for i in present}


class PanopticResults(NamedTuple):
    """Rows of results by image id, the folder of their PNGs, and how many segments there are."""

    rows: dict[ImageId, dict[str, Any]]
    folder: Path
    size_of_file: int


def ordered(categories: list[CocoCategory], classes: Sequence[str] | None, path: Path) -> list[CocoCategory]:
    """The categories in label order: the file's, or that of their ids. Raises DatasetError for a model of others.

    classes: the model's, all of them or the things.
    """
    by_id = sorted(categories, key=lambda row: (isinstance(row.id, str), row.id))
    for order in (categories, by_id):
        things = [row.name for row in order if row.row["isthing"]]
        if classes is None or list(classes) in (things, [row.name for row in order]):
            return order
    things = [row.name for row in categories if row.row["isthing"]]
    raise DatasetError(
        f"{path} has other classes than the model, or in another order: {len(things)} things ({few(things)}), the "
        f"model has {len(classes or ())} ({few(classes or ())})."
    )


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
