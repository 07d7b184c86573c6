"""Open Images v6 and its 2019 challenge: mAP at IoU 0.5 with class hierarchy, group-of boxes and image-level labels.

The rules (https://storage.googleapis.com/openimages/web/evaluation.html), as MMDetection applies them: an object counts
for its class and all classes above it; a detection counts for its class and those above it, where people looked for
that class in the image; a box around a group is one object, found once by any detection that lies half inside it.
The number is MMDetection's; that of the challenge's server differs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.datasets import open_images_files, resampling
from benchmarks.datasets.classes import few
from benchmarks.datasets.files import DatasetError, require_folder
from benchmarks.datasets.mean_ap import (
    Bools,
    Floats,
    Ranked,
    curve,
    known_mean,
    match,
    overlaps,
    weighted_precision,
)
from benchmarks.datasets.open_images_files import Objects
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from zoo.coco_format.image_files import image_size

ALIKE = 0.9  # the share of equal names from which two lists of classes are the same


class OpenImages:
    """A part of Open Images. above: (C, C), whether class j is class i or lies above it.

    verified: the labels that people looked for in an image.
    """

    name: str
    root: Path
    classes: tuple[str, ...]
    images: list[DatasetImage]
    above: Bools
    ground_truth: dict[ImageId, Objects]
    verified: dict[ImageId, set[int]]

    @property
    def category_ids(self) -> list[int]:
        """Open Images has names, no numbers; these count from 1."""
        return list(range(1, len(self.classes) + 1))

    def ground_truth_files(self) -> list[Path]:
        """None: the ground truth is read when the dataset is opened."""
        return []

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """map_50."""
        return self.weighing(predictions)(np.ones(len(predictions)))

    def resample(self, predictions: Mapping[ImageId, Predictions]) -> Resampled:
        """The same of datasets drawn from the images in `predictions`."""
        objects = [(i, *self.ground_truth[i], sorted(self.verified.get(i, ()))) for i in predictions]
        drawn_from = resampling.digest_of([self.classes, self.above, *(part for row in objects for part in row)])
        return resampling.of_metric(self.weighing(predictions), list(predictions), drawn_from)

    def weighing(self, predictions: Mapping[ImageId, Predictions]) -> Callable[[Floats], dict[str, float]]:
        """The number by weights of the images."""
        paths = {image.id: image.path for image in self.images}
        parts: dict[int, tuple[list[Ranked], list[int]]] = defaultdict(lambda: ([], []))
        for index, (image_id, detections) in enumerate(predictions.items()):
            one = self.own_labels(detections)
            for label, ranked in self.rank(image_id, one, image_size(paths[image_id])):
                parts[label][0].append(ranked)
                parts[label][1].append(index)
        curves = [curve(*listed, len(predictions)) for listed in parts.values()]
        return lambda weights: {"map_50": known_mean(weighted_precision(one, weights) for one in curves)}

    def rank(self, image_id: ImageId, one: Predictions, size: tuple[int, int]) -> Iterator[tuple[int, Ranked]]:
        """(label, hits and misses) for every class that counts in an image of `size` (width, height)."""
        objects = self.ground_truth[image_id]
        boxes = objects.boxes * np.array(size * 2, np.float32)
        of_class, found_as = self.above[objects.labels], self.above[one.labels]
        for label in sorted({*np.flatnonzero(of_class.any(0)).tolist(), *self.verified.get(image_id, ())}):
            theirs, mine = of_class[:, label], found_as[:, label]
            yield label, rank(one.boxes[mine], one.scores[mine], boxes[theirs], objects.groups[theirs])

    def match_classes(self, request: MetricConfig, path: Path) -> None:
        """Find each of the model's labels among the classes. Raises DatasetError for a model of other classes.

        A few names differ between the files of Open Images and the lists of MMDetection, so a list that agrees in
        nearly all places is the same list.
        """
        theirs = self.classes if request.classes is None else request.classes
        same = sum(ours == name for ours, name in zip(self.classes, theirs))
        if len(theirs) != len(self.classes):
            raise DatasetError(f"{path} has {len(self.classes)} classes, the model knows {len(theirs)}.")
        if same >= ALIKE * len(theirs):
            self.labels = np.arange(len(theirs))
        elif set(theirs) == set(self.classes) and len(set(theirs)) == len(theirs):
            self.labels = np.array([self.classes.index(name) for name in theirs])
        else:
            raise DatasetError(f"{path} has other classes than the model ({few(self.classes)} and {few(theirs)}).")

    def own_labels(self, one: Predictions) -> Predictions:
        """Detections with the labels of this dataset."""
        return replace(one, labels=self.labels[one.labels])


class Files(NamedTuple):
    """Where everything lies. labels: the CSV of verified image-level labels. images: a folder."""

    boxes: Path
    labels: Path
    classes: Path
    hierarchy: Path
    images: Path


class OpenImagesV6(OpenImages):
    """The CSV files of version 6. files: as in `Files`, below `root`."""

    def __init__(self, name: str, root: Path, request: MetricConfig, **files: str) -> None:
        self.name, self.root = name, root
        self.notices: list[str] = []
        at = Files(**{key: root / value for key, value in files.items()})
        described = open_images_files.read_classes(at.classes, name)
        self.classes = tuple(described.values())
        self.match_classes(request, at.classes)
        index = {code: label for label, code in enumerate(described)}
        self.above = open_images_files.read_hierarchy(at.hierarchy, index, name)
        self.ground_truth = open_images_files.read_boxes(at.boxes, index, name)
        folder = require_folder(at.images, name)
        self.images = [DatasetImage(i, folder / f"{i}.jpg") for i in self.ground_truth]
        self.verified = open_images_files.read_verified(at.labels, index, name)


class OpenImagesChallenge(OpenImages):
    """The 2019 challenge, in the text files that MMDetection converts it to. files: as in `Files`, below `root`."""

    def __init__(self, name: str, root: Path, request: MetricConfig, **files: str) -> None:
        self.name, self.root = name, root
        self.notices: list[str] = []
        at = Files(**{key: root / value for key, value in files.items()})
        described = open_images_files.read_numbered_classes(at.classes, name)
        self.classes = tuple(title for _, title in described)
        self.match_classes(request, at.classes)
        index = {code: label for label, (code, _) in enumerate(described)}
        self.above = open_images_files.read_relation(at.hierarchy, len(described), name)
        listed = open_images_files.read_challenge(at.boxes, len(described), name)
        folder = require_folder(at.images, name)
        self.images = [DatasetImage(Path(file).stem, folder / file) for file in listed]
        self.ground_truth = {Path(file).stem: objects for file, objects in listed.items()}
        self.verified = open_images_files.read_verified(at.labels, index, name)


def rank(boxes: Floats, scores: Floats, objects: Floats, groups: Bools, threshold: float = 0.5) -> Ranked:
    """Hits and misses among one image's detections of a class.

    boxes: (K, 4), objects: (M, 4), both in pixels. Detections that find no single object but lie in a group's box by
    half become one hit per group, with the best of their scores.
    """
    single = objects[~groups]
    hits, misses = match(overlaps(boxes, single), scores, np.zeros(len(single), bool), threshold)
    inside = overlaps(boxes, objects[groups], over="first")
    if not inside.size:
        return Ranked(scores, hits, misses, len(objects))
    grouped = ~hits & (inside.max(1) >= threshold)
    best = [scores[grouped & (inside.argmax(1) == group)] for group in range(inside.shape[1])]
    predictions = np.array([listed.max() for listed in best if len(listed)], scores.dtype)
    return Ranked(
        np.concatenate([scores[~grouped], predictions]),
        np.concatenate([hits[~grouped], np.ones(len(predictions), bool)]),
        np.concatenate([misses[~grouped], np.zeros(len(predictions), bool)]),
        len(objects),
    )
