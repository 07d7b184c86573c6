"""CrowdHuman (Shao et al., 2018) in its own layout: a JSON object for each image in `annotation_val.odgt`.

Full bodies (`fbox`) count. Boxes whose tag is not `person`, or whose `extra` says `ignore`, are regions to be ignored.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.datasets import resampling
from benchmarks.datasets.classes import few
from benchmarks.datasets.crowdhuman_metric import CrowdImage, clipped, crowd_metrics, weighing
from benchmarks.datasets.files import DatasetError, read_json, read_text, require_folder
from benchmarks.datasets.mean_ap import Bools, Floats
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from zoo.coco_format.sizes import Size, file_size
from zoo.text import printable


class Bodies(NamedTuple):
    """boxes: (M, 4) xyxy. persons: (M,), False for regions that are ignored."""

    boxes: Floats
    persons: Bools


class CrowdHuman:
    """A part of CrowdHuman. annotations: its .odgt file; images: their folder; sizes: MMDetection's file of (h, w) by
    id, which is read for images that are not there.
    """

    def __init__(self, name: str, root: Path, request: MetricConfig, annotations: str, images: str, sizes: str) -> None:
        self.name, self.root = name, root
        self.notices: list[str] = []
        self.classes: tuple[str, ...] = ("person",)
        self.category_ids = [1]
        if request.classes is not None and tuple(request.classes) != self.classes:
            raise DatasetError(f"CrowdHuman has one class, person; the model knows {few(request.classes)}.")
        self.bodies = read_odgt(root / annotations, name)
        folder = require_folder(root / images, name)
        self.images = [DatasetImage(key, folder / f"{key}.jpg") for key in self.bodies]
        self.sizes = read_sizes(root / sizes, name) if (root / sizes).is_file() else {}

    def ground_truth_files(self) -> list[Path]:
        """None: the ground truth is read when the dataset is opened."""
        return []

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """ap_50, miss_rate and jaccard_index."""
        return crowd_metrics(self.all_prepared(predictions))

    def resample(self, predictions: Mapping[ImageId, Predictions]) -> Resampled:
        """The same of datasets drawn from the images in `predictions`."""
        images = self.all_prepared(predictions)
        drawn_from = resampling.digest_of(part for one in images for part in (one.persons, one.regions))
        return resampling.of_metric(weighing(images), range(len(images)), drawn_from)

    def all_prepared(self, predictions: Mapping[ImageId, Predictions]) -> list[CrowdImage]:
        """The images in `predictions`."""
        return [self.prepared(image, predictions[image.id]) for image in self.images if image.id in predictions]

    def prepared(self, image: DatasetImage, predictions: Predictions) -> CrowdImage:
        """Detections and ground truth of one image."""
        size, bodies = self.size(image), self.bodies[str(image.id)]
        boxes = clipped(bodies.boxes, size)
        return CrowdImage(
            clipped(predictions.boxes.astype(np.float64), size),
            predictions.scores.astype(np.float64),
            boxes[bodies.persons],
            boxes[~bodies.persons],
        )

    def size(self, image: DatasetImage) -> Size:
        """(height, width). Raises DatasetError where nothing says it."""
        size = file_size(image.path) or self.sizes.get(str(image.id))
        if size is None:
            raise DatasetError(f"{image.path} does not exist, so its size, to which boxes are clipped, is unknown.")
        return size


def read_sizes(path: Path, dataset: str) -> dict[str, Size]:
    """(height, width) by id. Raises DatasetError."""
    try:
        return {key: (int(height), int(width)) for key, (height, width) in read_json(path, dataset).items()}
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise DatasetError(f"{path} is not an object of [height, width] by image.") from None


def read_odgt(path: Path, dataset: str) -> dict[str, Bodies]:
    """The bodies of each image, by its id. Raises DatasetError with file and line."""
    bodies: dict[str, Bodies] = {}
    for number, line in enumerate(read_text(path, dataset).split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            key = row["ID"]
            if not isinstance(key, str) or not key or key in bodies or "/" in key:
                raise ValueError(f"ID {key!r} is not a new name of an image")
            bodies[key] = bodies_of(row["gtboxes"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"there is no {error}" if isinstance(error, KeyError) else str(error)
            raise DatasetError(
                f"{path}, line {number}: not an image of CrowdHuman: {printable(reason, 100)}."
            ) from None
    if not bodies:
        raise DatasetError(f"{path} lists no images.")
    return bodies


def bodies_of(rows: Any) -> Bodies:
    """The full bodies of an image's `gtboxes`. Raises ValueError, KeyError, TypeError."""
    boxes = np.array([box_of(row["fbox"]) for row in rows], np.float64).reshape(-1, 4)
    persons = [row["tag"] == "person" and not (row.get("extra") or {}).get("ignore") for row in rows]
    return Bodies(boxes, np.array(persons, bool))


def box_of(values: Any) -> list[float]:
    """x, y, width, height -> xyxy."""
    x, y, width, height = map(float, values)
    if not all(map(math.isfinite, (x, y, width, height))) or width < 0 or height < 0:
        raise ValueError(f"fbox {values} is not x, y, width and height")
    return [x, y, x + width, y + height]
