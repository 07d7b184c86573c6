"""What is examined: a file of detections as it is, beside the ground truth of some images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import coco_bootstrap, coco_matches
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.coco_matches import Matches
from benchmarks.results import interval
from zoo.coco_format.annotations import read_json
from zoo.coco_format.problems import shown
from zoo.coco_format.values import is_number
from zoo.errors import DataError

Floats = NDArray[np.float64]

IMAGES = 200  # examined at most
REPLICATES = 200
LIMIT = 100  # detections that COCO counts for an image and class
AP = {"box_ap": coco_bootstrap.definitions("box", "coco")["box_ap"]}


class Rows(NamedTuple):
    """Detections as a file has them. image, category: (N,) of whatever ids. boxes: (N, 4). scores: (N,)."""

    image: NDArray[Any]
    category: NDArray[Any]
    boxes: Floats
    scores: Floats


@dataclass(frozen=True)
class Case:
    """The ground truth. numbers: of the images that are examined, as the metric counts them. weights: of the images.

    image_ids, category_ids: the file's own, each to its number. sizes: (n, 2) height and width by number.
    """

    dataset: CocoDataset
    numbers: Sequence[int]
    image_ids: dict[Any, int]
    category_ids: dict[Any, int]
    sizes: Floats
    weights: Floats

    def of(self, numbers: Sequence[int]) -> Case:
        """The same for some of the images, without replicates."""
        return replace(self, numbers=sorted(numbers), weights=np.ones((len(numbers), 1)))

    @property
    def names(self) -> list[str]:
        """The classes in the order of the annotation file."""
        return [category.name for category in self.dataset.file.categories]

    @property
    def objects(self) -> NDArray[np.float64]:
        """(M, 6): number of the image, xywh, category; without crowds."""
        counted = set(self.numbers)
        rows = [
            (row["image_id"], *row["bbox"], row["category_id"])
            for row in self.dataset.ground_truth["annotations"]
            if row["image_id"] in counted and not row["iscrowd"]
        ]
        return np.array(rows, np.float64).reshape(-1, 6)


class Score(NamedTuple):
    """An AP over the images, 0 to 1, with its replicates."""

    value: float
    replicates: Floats


def open_case(dataset: CocoDataset, limit: int | None = None) -> Case:
    """At most IMAGES or `limit` images, evenly chosen. Raises DataError for images of unknown size."""
    listed = [dataset.numbers[i] for i in dataset.kept]
    most = min(limit or IMAGES, len(listed))
    numbers = sorted(listed[i] for i in np.linspace(0, len(listed) - 1, most).astype(int).tolist())
    sizes = np.ones((max(dataset.numbers) + 1, 2))
    for number, size in zip(dataset.numbers, dataset.sizes):
        if size is None and number in set(numbers):
            raise DataError(f"{dataset.file.path} does not say how large image number {number} is.")
        sizes[number] = size or (1, 1)
    images = {image.id: number for image, number in zip(dataset.file.images, dataset.numbers)}
    positions = {category.id: i for i, category in enumerate(dataset.file.categories)}
    categories = {key: dataset.category_numbers[position] for key, position in positions.items()}
    drawn = coco_bootstrap.draw(len(numbers), REPLICATES, 0)
    weights = np.concatenate([np.ones((len(numbers), 1)), drawn], 1)
    return Case(dataset, numbers, images, categories, sizes, weights)


def read_rows(path: Path) -> Rows:
    """The detections in `path`, whatever they refer to. Raises DataError where they are no list of detections."""
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path} holds {shown(rows, 30)}: predictions are a list of objects, COCO's results format.")
    for index, row in enumerate(rows):
        if not is_detection(row):
            wanted = "an object with image_id, category_id, a bbox of four finite numbers, and a score"
            raise DataError(f"{path}[{index}] is {shown(row, 60)}, it should be {wanted}.")
    boxes = np.array([row["bbox"] for row in rows], np.float64).reshape(-1, 4)
    scores = np.array([row["score"] for row in rows], np.float64)
    return Rows(column(rows, "image_id"), column(rows, "category_id"), boxes, scores)


def is_detection(row: Any) -> bool:
    """Whether a row has what all mistakes are about."""
    if not isinstance(row, dict) or not {"image_id", "category_id", "bbox", "score"} <= row.keys():
        return False
    box = row["bbox"]
    ids = all(isinstance(row[key], (int, float, str)) for key in ("image_id", "category_id"))
    return ids and isinstance(box, list) and len(box) == 4 and all(map(is_number, box)) and is_number(row["score"])


def column(rows: Sequence[dict[str, Any]], key: str) -> NDArray[Any]:
    """(N,) values of any type."""
    values = np.empty(len(rows), object)
    values[:] = [row[key] for row in rows]
    return values


def numbered(case: Case, rows: Rows) -> Floats:
    """(N, 7) number of the image, xywh, score and number of the class; those of no image or class are left out."""
    image = np.array([case.image_ids.get(i, -1) for i in rows.image], np.float64)
    category = np.array([case.category_ids.get(i, -1) for i in rows.category], np.float64)
    table = np.column_stack([image, rows.boxes, rows.scores, category])
    return table[(image > 0) & (category > 0) & np.isin(image, case.numbers)]


def matches_of(case: Case, table: Floats, limit: int = LIMIT) -> Matches:
    """The detections of a table, matched."""
    ordered = table[np.argsort(table[:, 0], kind="stable")]

    def source(numbers: Sequence[Any]) -> Floats:
        return ordered[np.isin(ordered[:, 0], list(numbers))]

    categories = list(case.dataset.category_numbers.values())
    return coco_matches.match(case.dataset.ground_truth, source, "box", case.numbers, categories, limit)


def score(case: Case, table: Floats) -> Score:
    """The box AP of a table."""
    usable = table[(table[:, 3] >= 0) & (table[:, 4] >= 0) & np.isfinite(table).all(1)]
    values = coco_bootstrap.precisions(matches_of(case, usable), AP, case.weights)["box_ap"]
    return Score(float(np.nan_to_num(values[0])), values[1:])


def gain(before: Score, after: Score) -> tuple[float, float]:
    """(points gained, points that are certain): the difference in percent points, and the lower end of its interval."""
    difference = 100 * (after.value - before.value)
    margin = interval.margin((after.replicates - before.replicates).tolist()) or 0.0
    return difference, difference - 100 * margin
