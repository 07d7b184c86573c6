"""Detections from a file, as the metrics take them: by numbers of images and categories, at full precision."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.datasets.coco_results import Results, Source
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from zoo.coco_format.predictions import CocoResult, Listed, read_predictions
from zoo.coco_format.segmentation import to_rle
from zoo.coco_format.sizes import Size, file_size
from zoo.errors import DataError


class ResultsFile:
    """The detections of a file.

    numbers: of the annotation file's images. categories: index in the annotation file -> number, for those that count.
    """

    def __init__(
        self,
        results: Sequence[CocoResult],
        numbers: Sequence[int],
        categories: Mapping[int, int],
        sizes: Sequence[Size | None],
    ) -> None:
        self.categories, self.sizes = categories, dict(zip(numbers, sizes))
        self.size_of_file = len(results)
        self.rows: dict[int, list[CocoResult]] = defaultdict(list)
        for one in results:
            if one.category in categories:
                self.rows[numbers[one.image]].append(one)

    def source(self, measure: str) -> Source:
        """What COCO's metric needs to know for a measure."""
        kind = {"mask": self.masks, "keypoint": self.keypoints}.get(measure, self.boxes)
        return lambda numbers: kind(numbers)

    def boxes(self, numbers: Sequence[ImageId]) -> Results:
        """(N, 7): image, x, y, width, height, score, category."""
        rows = [(n, *one.row["bbox"], one.score, self.categories[one.category]) for n, one in self.of(numbers)]
        return np.array(rows, np.float64).reshape(-1, 7)

    def masks(self, numbers: Sequence[ImageId]) -> Results:
        """Rows with a mask; without the box, which would decide how large the detection is."""
        return [
            self.row(n, one) | {"segmentation": to_rle(one.row["segmentation"], *self.size(n))}
            for n, one in self.of(numbers)
        ]

    def keypoints(self, numbers: Sequence[ImageId]) -> Results:
        """Rows with keypoints."""
        return [self.row(n, one) | {"keypoints": one.row["keypoints"]} for n, one in self.of(numbers)]

    def row(self, number: int, one: CocoResult) -> dict[str, Any]:
        """What all rows have."""
        return {"image_id": number, "category_id": self.categories[one.category], "score": one.score}

    def of(self, numbers: Sequence[ImageId]) -> list[tuple[int, CocoResult]]:
        """The detections of some images."""
        return [(int(n), one) for n in numbers for one in self.rows.get(int(n), ())]

    def of_image(self, number: int) -> Predictions:
        """The boxes of an image, best first."""
        return gathered(self.rows.get(number, ()), None)

    def size(self, number: int) -> Size:
        """(height, width) of an image, which detections with masks have been compared with."""
        size = self.sizes[number]
        assert size is not None
        return size


class Scored(NamedTuple):
    """metrics: numbers by name. detections: how many the file has. resampled: as in `accuracy.measure.Accuracy`."""

    metrics: dict[str, float]
    detections: int
    resampled: Resampled | None = None


def evaluate_file(dataset: Any, path: Path, request: MetricConfig, limit: int | None = None) -> Scored:
    """A dataset's metric of the detections in `path`, over the first `limit` images. Raises DataError."""
    if hasattr(dataset, "read_results"):
        results = dataset.read_results(path)
        resample = getattr(dataset, "resample_results", None)
        resampled = resample(results, limit) if resample else None
        return Scored(dataset.evaluate_results(results, limit), results.size_of_file, resampled)
    if missing := [path for path in dataset.ground_truth_files() if not path.exists()]:
        raise DataError(f"{len(missing):,} files of the ground truth do not exist, {missing[0]} first.")
    sizes = [file_size(image.path) for image in dataset.images]
    categories = {category: label for label, category in enumerate(dataset.category_ids)}
    listed = Listed({image.id: i for i, image in enumerate(dataset.images)}, categories, sizes)
    rows = read_predictions(path, listed, request.measures)
    parts: dict[int, list[CocoResult]] = defaultdict(list)
    for one in rows:
        parts[one.image].append(one)
    result = {image.id: gathered(parts[i], sizes[i]) for i, image in enumerate(dataset.images[:limit])}
    return Scored(dataset.evaluate(result), len(rows), dataset.resample(result))


def gathered(rows: Sequence[CocoResult], size: Size | None) -> Predictions:
    """One image's detections, best first."""
    rows = sorted(rows, key=lambda one: -one.score)
    boxes = np.array([one.row["bbox"] for one in rows], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    masked = size is not None and all("segmentation" in one.row for one in rows)
    return Predictions(
        boxes=boxes.astype(np.float32),
        scores=np.array([one.score for one in rows], np.float32),
        labels=np.array([one.category for one in rows], np.int64),
        masks=[to_rle(one.row["segmentation"], *size) for one in rows] if masked and size else None,
    )
