"""LVIS v0.5 and v1: COCO's images with long-tailed classes, annotated per image for some of the classes only.

The metric (Gupta et al., 2019, section 3.4) is the LVIS API's: a detection of a class that was not looked for in a
image does not count, at most 300 detections per image count, and there is an AP for rare, common and frequent
classes. hotcoco computes it; its numbers equal those of lvis 0.5.3, which itself does not run with NumPy 2. That API
leaves out objects and detections of area 0, the latter after it has taken the best 300; so does this module.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import hotcoco
import numpy as np

from benchmarks.datasets import classes, coco_results, lvis_bootstrap, streaming
from benchmarks.datasets.coco import file_notices, require_objects
from benchmarks.datasets.coco_metric import IOU_TYPE
from benchmarks.datasets.coco_results import Results, Source
from benchmarks.datasets.files import DatasetError, require_file, require_folder
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from benchmarks.datasets.results_file import ResultsFile
from zoo.coco_format.annotations import Annotations, read_annotations
from zoo.coco_format.image_files import find_images, portable
from zoo.coco_format.metric_document import image_numbers, metric_document
from zoo.coco_format.predictions import Listed, read_predictions
from zoo.coco_format.problems import Problems, shown
from zoo.coco_format.segmentation import area as mask_area
from zoo.coco_format.sizes import checked_sizes
from zoo.coco_format.values import is_id, is_name

NAMES = {
    "AP": "ap",
    "AP50": "ap_50",
    "AP75": "ap_75",
    "APr": "ap_rare",
    "APc": "ap_common",
    "APf": "ap_frequent",
    "APs": "ap_small",
    "APm": "ap_medium",
    "APl": "ap_large",
    "AR@300": "ar_300",
}
MOST = lvis_bootstrap.MOST  # detections per image


FREQUENCIES = ("r", "c", "f")
LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


class LvisDataset:
    """An LVIS annotation file and COCO's folders of images.

    annotations, images: where the two lie below `root`.
    """

    def __init__(self, name: str, root: Path, request: MetricConfig, annotations: str, images: str) -> None:
        self.name, self.root, self.request = name, root, request
        path = require_file(root / annotations, name)
        self.file = read_annotations(path, boxes="box" in request.measures, named=False)
        check_fields(self.file)
        matched = classes.match(self.file.categories, request, path)
        self.categories, self.notices = matched.categories, [*file_notices(self.file), *matched.notices]
        self.classes = request.classes or tuple(row.name for row in self.file.categories)
        self.category_ids: list[Any] = [None if i is None else self.file.categories[i].id for i in self.categories]
        folder = root / images if request.predictions else require_folder(root / images, name)
        names = [file_name(image.row, path) for image in self.file.images]
        paths = find_images(folder, names)
        self.sizes = checked_sizes(self.file, paths)
        self.numbers = image_numbers(names)
        self.images = [DatasetImage(image.id, file) for image, file in zip(self.file.images, paths)]
        self.number_of = {image.id: number for image, number in zip(self.file.images, self.numbers)}
        self.category_numbers = {
            position: label + 1 for label, position in enumerate(self.categories) if position is not None
        }
        self.ground_truth = self.document()
        require_objects(self.ground_truth, path)

    def document(self) -> dict[str, Any]:
        """What the metric compares with."""
        measures = self.request.measures
        document = metric_document(self.file, self.numbers, self.category_numbers, self.sizes, measures)
        numbers = {self.file.categories[i].id: number for i, number in self.category_numbers.items()}
        rows = {number: image.row for number, image in zip(self.numbers, self.file.images)}
        for image in document["images"]:
            for key in LISTS:
                image[key] = [numbers[i] for i in rows[image["id"]][key] if i in numbers]
        for category, position in zip(document["categories"], self.category_numbers):
            category["frequency"] = self.file.categories[position].row["frequency"]
        return document | {"annotations": [row | {"iscrowd": 0} for row in document["annotations"]]}

    def ground_truth_files(self) -> list[Path]:
        """None: the ground truth is read when the dataset is opened."""
        return []

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """box_ap, ..., mask_ap, ... as the LVIS API computes them; -1 where there is nothing to find."""
        counted = {label for label, position in enumerate(self.categories) if position is not None}
        detections = {self.number_of[i]: coco_results.only(one, counted) for i, one in predictions.items()}
        labels = range(1, len(self.categories) + 1)
        return self.score(lambda measure: coco_results.source(measure, detections, labels), list(detections))

    def score(self, source: Callable[[str], Source], image_numbers: Sequence[int]) -> dict[str, float]:
        """The same of any results, by numbers of images and categories."""
        numbers: dict[str, float] = {}
        for measure in self.request.measures:
            numbers |= evaluate(self.ground_truth, source(measure), measure, image_numbers)
        return numbers

    def resample(self, predictions: Mapping[ImageId, Predictions]) -> Resampled:
        """The same of datasets drawn from the images in `predictions`."""
        counted = {label for label, index in enumerate(self.categories) if index is not None}
        detections = {self.number_of[i]: coco_results.only(one, counted) for i, one in predictions.items()}
        labels = range(1, len(self.categories) + 1)
        return self.drawn(lambda measure: coco_results.source(measure, detections, labels), list(detections))

    def resample_results(self, results: ResultsFile, limit: int | None = None) -> Resampled:
        """The numbers of datasets drawn from the first `limit` images."""
        return self.drawn(results.source, self.numbers[:limit])

    def drawn(self, source: Callable[[str], Source], image_numbers: Sequence[int]) -> Resampled:
        """The same of any results."""
        measures = self.request.measures
        return lvis_bootstrap.resample(with_area(self.ground_truth), source, image_numbers, measures, limited)

    def read_results(self, path: Path) -> ResultsFile:
        """Detections in a file of LVIS results. Raises DataError."""
        positions = {category.id: i for i, category in enumerate(self.file.categories)}
        images = {image.id: i for i, image in enumerate(self.file.images)}
        listed = Listed(images, positions, self.sizes, self.request.present_classes)
        rows = read_predictions(path, listed, self.request.measures)
        return ResultsFile(rows, self.numbers, self.category_numbers, self.sizes)

    def evaluate_results(self, results: ResultsFile, limit: int | None = None) -> dict[str, float]:
        """LVIS's numbers of such detections, over the first `limit` images."""
        return self.score(results.source, self.numbers[:limit])


def check_fields(file: Annotations) -> None:
    """Raise DataError where an image or a class lacks what only LVIS has."""
    problems, known = Problems(file.path), {category.id for category in file.categories}
    for index, category in enumerate(file.categories):
        if category.row.get("frequency") not in FREQUENCIES:
            value = shown(category.row.get("frequency"))
            problems.add(f"categories[{index}].frequency", f"is {value}, LVIS has r, c or f there")
    for index, image in enumerate(file.images):
        for key in LISTS:
            listed = image.row.get(key)
            if not isinstance(listed, list) or not all(is_id(i) and i in known for i in listed):
                problems.add(f"images[{index}].{key}", f"is {shown(listed)}, LVIS has a list of category ids there")
    problems.check()


def evaluate(
    ground_truth: dict[str, Any], results: Source, measure: str, image_ids: Iterable[ImageId]
) -> dict[str, float]:
    """LVIS's numbers by name. ground truth: an LVIS document. results: as for COCO. measure: box or mask."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        params = hotcoco.Params(IOU_TYPE[measure])
        params.catIds, params.maxDets = [row["id"] for row in ground_truth["categories"]], [MOST]
        evaluator = streaming.match(
            with_area(ground_truth), lambda ids: limited(results(ids)), params, image_ids, lvis_style=True
        )
        evaluator.accumulate()
        evaluator.summarize()
        numbers = evaluator.get_results()
    return {f"{measure}_{name}": float(numbers[key]) for key, name in NAMES.items()}


def with_area(ground_truth: dict[str, Any]) -> dict[str, Any]:
    """A document without objects of area 0."""
    return ground_truth | {"annotations": [row for row in ground_truth["annotations"] if row["area"] > 0]}


def limited(results: Results) -> Results:
    """The best detections of each image, without those of area 0."""
    array = isinstance(results, np.ndarray)
    images = results[:, 0] if array else np.array([row["image_id"] for row in results])  # type: ignore[call-overload]
    scores = results[:, 5] if array else np.array([row["score"] for row in results])  # type: ignore[call-overload]
    kept: list[int] = []
    for image in np.unique(images):
        positions = np.flatnonzero(images == image)
        best = positions if len(positions) <= MOST else positions[np.argsort(-scores[positions], kind="stable")][:MOST]
        kept += best.tolist()
    if isinstance(results, np.ndarray):
        chosen = results[kept]
        return chosen[chosen[:, 3] * chosen[:, 4] > 0]
    return [results[i] for i in kept if area(results[i]) > 0]


def area(row: Mapping[str, Any]) -> float:
    """A detection's area: its box's, or its mask's where it has no box."""
    return row["bbox"][2] * row["bbox"][3] if "bbox" in row else float(mask_area(row["segmentation"]))


def file_name(image: Mapping[str, Any], path: Path) -> str:
    """Where an image lies: `val2017/000000000139.jpg` in v1, `000000000139.jpg` in v0.5.

    v1 has the image's address only; v0.5 names COCO 2014's file, whose last 16 characters are COCO 2017's.
    """
    for key in ("file_name", "coco_url"):
        if key in image and not is_name(image[key]):
            raise DatasetError(f"{path}: {key} of image {shown(image.get('id'))} is {shown(image[key])}, not a text.")
    if "file_name" in image:
        name: str = portable(image["file_name"])
        return name[-16:] if name.startswith("COCO") else name
    if "coco_url" in image:
        return "/".join(str(image["coco_url"]).split("/")[-2:])
    raise DatasetError(f"{path}: image {shown(image.get('id'))} has neither 'coco_url' nor 'file_name'.")
