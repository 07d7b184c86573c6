"""Datasets in COCO's own layout: COCO itself, DeepFashion, Objects365, and a user's own.

A JSON file with `images`, `annotations` and `categories`, and a folder of images (https://cocodataset.org/#format-data).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.datasets import classes, coco_metric, coco_results, proposal_recall, resampling
from benchmarks.datasets.coco_results import Source
from benchmarks.datasets.files import DatasetError, require_file, require_folder
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from benchmarks.datasets.results_file import ResultsFile
from zoo.coco_format.annotations import Annotations, read_annotations
from zoo.coco_format.image_files import find_images, portable
from zoo.coco_format.metric_document import image_numbers, metric_document
from zoo.coco_format.predictions import Listed, read_predictions
from zoo.coco_format.sizes import checked_sizes


class CocoDataset:
    """A COCO annotation file and its images.

    annotations, images: where the two lie below `root`. name_parts: how many parts of an image's file name, from the
    end, lead to it below `images`; None for all. missing: such names that are annotated but not in the download.
    sort: the order of the categories is that of their ids, since it is not the same in all of the dataset's files.
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
        missing: Sequence[str] = (),
        sort: bool = False,
    ) -> None:
        self.name, self.root, self.request = name, root, request
        path = require_file(root / annotations, name)
        self.file = read_annotations(path, boxes=tuple(request.measures) != ("mask",))
        matched = classes.match(self.file.categories, request, path, sort)
        self.categories, self.notices = matched.categories, [*file_notices(self.file), *matched.notices]
        self.classes = request.classes or tuple(self.file.categories[i].name for i in self.categories if i is not None)
        self.category_ids: list[Any] = [None if i is None else self.file.categories[i].id for i in self.categories]
        folder = root / images if request.predictions else require_folder(root / images, name)
        names = [last_parts(portable(image.file_name), name_parts) for image in self.file.images]
        paths = find_images(folder, names)
        self.sizes = checked_sizes(self.file, paths)
        self.numbers = image_numbers(names)
        self.kept = [i for i, file_name in enumerate(names) if file_name not in missing]
        self.images = [DatasetImage(self.file.images[i].id, paths[i]) for i in self.kept]
        self.number_of = {image.id: self.numbers[i] for i, image in enumerate(self.file.images)}
        require_objects(self.ground_truth, path)

    @cached_property
    def category_numbers(self) -> dict[int, int]:
        """Position in the file -> number for the metric, for the categories that count, by label."""
        return {position: label + 1 for label, position in enumerate(self.categories) if position is not None}

    @cached_property
    def ground_truth(self) -> dict[str, Any]:
        """What the metric compares with."""
        return metric_document(self.file, self.numbers, self.category_numbers, self.sizes, self.request.measures)

    def ground_truth_files(self) -> list[Path]:
        """None: the ground truth is read when the dataset is opened."""
        return []

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """COCO's numbers for each measure of the request, over the images in `predictions`."""
        detections = self.numbered(predictions)
        numbers = self.score(self.source(detections), list(detections))
        if self.greedy:
            numbers |= proposal_recall.evaluate(self.ground_truth, detections)
        return numbers

    def resample(self, predictions: Mapping[ImageId, Predictions]) -> Resampled:
        """The numbers of datasets drawn from the images in `predictions`."""
        detections = self.numbered(predictions)
        return self.with_proposals(self.resample_source(self.source(detections), list(detections)), detections)

    def numbered(self, predictions: Mapping[ImageId, Predictions]) -> dict[int, Predictions]:
        """The detections of classes that count, by numbers of images."""
        counted = {label for label, position in enumerate(self.categories) if position is not None}
        return {self.number_of[i]: coco_results.only(one, counted) for i, one in predictions.items()}

    def source(self, detections: Mapping[int, Predictions]) -> Callable[[str], Source]:
        """The results for a measure, of such detections."""
        labels = range(1, len(self.categories) + 1)
        return lambda measure: coco_results.source(measure, detections, labels)

    def resample_source(self, source: Callable[[str], Source], image_numbers: Sequence[int]) -> Resampled:
        """The same for any results. source: as for `score`."""
        categories = list(self.category_numbers.values())
        return resampling.resample(self.ground_truth, source, image_numbers, categories, self.request)

    def score(self, source: Callable[[str], Source], image_numbers: Sequence[int]) -> dict[str, float]:
        """COCO's numbers for each measure. source: the results for a measure, by numbers of images and categories."""
        numbers: dict[str, float] = {}
        for measure in self.request.measures:
            numbers |= coco_metric.evaluate(
                self.ground_truth,
                source(measure),
                measure,
                image_numbers,
                list(self.category_numbers.values()),
                self.request.protocol,
                self.request.metric_backend,
            )
        return numbers

    def read_results(self, path: Path) -> ResultsFile:
        """Detections in a file of COCO results. Raises DataError."""
        positions = {category.id: i for i, category in enumerate(self.file.categories)}
        listed = Listed(
            {image.id: i for i, image in enumerate(self.file.images)},
            positions,
            self.sizes,
            self.request.present_classes,
        )
        rows = read_predictions(path, listed, self.request.measures)
        return ResultsFile(rows, self.numbers, self.category_numbers, self.sizes)

    def evaluate_results(self, results: ResultsFile, limit: int | None = None) -> dict[str, float]:
        """COCO's numbers of such detections, over the first `limit` images."""
        counted = [self.numbers[i] for i in self.kept[:limit]]
        numbers = self.score(results.source, counted)
        if self.greedy:
            numbers |= proposal_recall.evaluate(self.ground_truth, {n: results.of_image(n) for n in counted})
        return numbers

    def resample_results(self, results: ResultsFile, limit: int | None = None) -> Resampled:
        """The numbers of datasets drawn from the first `limit` images."""
        counted = [self.numbers[i] for i in self.kept[:limit]]
        drawn = self.resample_source(results.source, counted)
        return self.with_proposals(drawn, {n: results.of_image(n) for n in counted} if self.greedy else {})

    @property
    def greedy(self) -> bool:
        """Whether MMDetection's own recall of proposals is asked for."""
        return "proposal" in self.request.measures and self.request.protocol == "mmdet-v2"

    def with_proposals(self, drawn: Resampled, detections: Mapping[int, Predictions]) -> Resampled:
        """With that recall, where it is asked for."""
        if not self.greedy:
            return drawn
        weigh = proposal_recall.weighing(self.ground_truth, detections)
        drawn_from = drawn.parameters["drawn_from"]
        return resampling.together([drawn, resampling.of_metric(weigh, list(detections), drawn_from)])


def require_objects(ground_truth: Mapping[str, Any], path: Path) -> None:
    """Raise DatasetError where there is nothing to find."""
    if not ground_truth["annotations"]:
        raise DatasetError(f"{path} has no annotation of these classes, so there is nothing to evaluate.")


def file_notices(file: Annotations) -> list[str]:
    """What a reader of the numbers has to know about a file that was accepted."""
    notices, arealess = [], sum(one.area is None for one in file.objects)
    if file.strays:
        notices.append(f"{file.strays:,} annotations are of images that the file does not list, and do not count.")
    if arealess:
        areas = "numbers by size take their masks' areas, or their boxes' where there are no masks"
        notices.append(f"{arealess:,} annotations have no 'area': {areas}.")
    return notices


def last_parts(file_name: str, count: int | None) -> str:
    """The last `count` parts of a path, all of it for None."""
    return file_name if count is None else "/".join(file_name.split("/")[-count:])
