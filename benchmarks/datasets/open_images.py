"""Open Images v6 and its 2019 challenge: mAP at IoU 0.5 with class hierarchy, group-of boxes and image-level labels.

The rules (https://storage.googleapis.com/openimages/web/evaluation.html), as MMDetection applies them: an object counts
for its class and all classes above it; a detection counts for its class and those above it, where people looked for
that class in the image; a box around a group is one object, found once by any detection that lies half inside it.
The number is MMDetection's; that of the challenge's server differs.
"""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.datasets.files import DatasetError, read_text, require_file, require_folder
from benchmarks.datasets.mean_ap import Bools, Floats, Ranked, average_precision, join, match, mean, overlaps
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from zoo.coco_format.image_files import image_size


class Objects(NamedTuple):
    """What is in an image: boxes (M, 4) xyxy as shares of its width and height, labels (M,), groups (M,)."""

    boxes: Floats
    labels: np.ndarray
    groups: Bools


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

    def truth_files(self) -> list[Path]:
        """None: the ground truth is read when the dataset is opened."""
        return []

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """map_50."""
        paths = {image.id: image.path for image in self.images}
        parts: dict[int, list[Ranked]] = defaultdict(list)
        for image_id, one in predictions.items():
            for label, ranked in self.rank(image_id, one, image_size(paths[image_id])):
                parts[label].append(ranked)
        joined = [join(listed) for listed in parts.values()]
        return {"map_50": mean(average_precision(one) for one in joined if one.positives)}

    def rank(self, image_id: ImageId, one: Predictions, size: tuple[int, int]) -> Iterator[tuple[int, Ranked]]:
        """(label, hits and misses) for every class that counts in an image of `size` (width, height)."""
        objects = self.ground_truth[image_id]
        boxes = objects.boxes * np.array(size * 2, np.float32)
        of_class, found_as = self.above[objects.labels], self.above[one.labels]
        for label in sorted({*np.flatnonzero(of_class.any(0)).tolist(), *self.verified.get(image_id, ())}):
            theirs, mine = of_class[:, label], found_as[:, label]
            yield label, rank(one.boxes[mine], one.scores[mine], boxes[theirs], objects.groups[theirs])

    def check_classes(self, request: MetricConfig, path: Path) -> None:
        """Raise DatasetError for a model of other classes."""
        if request.classes is not None and len(request.classes) != len(self.classes):
            raise DatasetError(f"{path} has {len(self.classes)} classes, the model knows {len(request.classes)}.")


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
        described = list(csv.reader(read_text(at.classes, name).splitlines()))
        self.classes = tuple(row[1] for row in described)
        self.check_classes(request, at.classes)
        index = {row[0]: label for label, row in enumerate(described)}
        try:
            self.above = tree(json.loads(read_text(at.hierarchy, name)), index)
        except (KeyError, ValueError) as error:
            raise DatasetError(f"{at.hierarchy} is not the hierarchy of these classes: {error!r}.") from error
        self.ground_truth = read_boxes(at.boxes, index, name)
        folder = require_folder(at.images, name)
        self.images = [DatasetImage(i, folder / f"{i}.jpg") for i in self.ground_truth]
        self.verified = read_verified(at.labels, index, name)


class OpenImagesChallenge(OpenImages):
    """The 2019 challenge, in the text files that MMDetection converts it to. files: as in `Files`, below `root`."""

    def __init__(self, name: str, root: Path, request: MetricConfig, **files: str) -> None:
        self.name, self.root = name, root
        self.notices: list[str] = []
        at = Files(**{key: root / value for key, value in files.items()})
        described = sorted(csv.reader(read_text(at.classes, name).splitlines()), key=lambda row: int(row[2]))
        self.classes = tuple(row[1] for row in described)
        self.check_classes(request, at.classes)
        index = {row[0]: int(row[2]) - 1 for row in described}
        self.above = read_tree(at.hierarchy, name)
        listed = read_challenge(at.boxes, name)
        folder = require_folder(at.images, name)
        self.images = [DatasetImage(Path(file).stem, folder / file) for file in listed]
        self.ground_truth = {Path(file).stem: objects for file, objects in listed.items()}
        self.verified = read_verified(at.labels, index, name)


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


def tree(node: Mapping[str, Any], index: Mapping[str, int]) -> Bools:
    """(C, C): whether class j is class i or lies above it. The hierarchy's root, everything, is no class."""
    above = np.eye(len(index), dtype=bool)

    def descend(node: Mapping[str, Any], parents: list[int]) -> None:
        for child in node.get("Subcategory", ()):
            label = index[child["LabelName"]]
            above[label, parents] = True
            descend(child, [label, *parents])

    descend(node, [])
    return above


def read_tree(path: Path, dataset: str) -> Bools:
    """The challenge's relation of classes, stored with a row and column for labels from 1."""
    try:
        return np.load(require_file(path, dataset), allow_pickle=False)[1:, 1:] > 0
    except ValueError as error:
        raise DatasetError(f"{path} is not a plain NumPy array: {error}.") from error


def read_boxes(path: Path, index: Mapping[str, int], dataset: str) -> dict[ImageId, Objects]:
    """Objects by image id, from a CSV file with a header."""
    rows: dict[ImageId, list[tuple[list[float], int, bool]]] = defaultdict(list)
    try:
        for row in csv.DictReader(read_text(path, dataset).splitlines()):
            box = [float(row[key]) for key in ("XMin", "YMin", "XMax", "YMax")]
            rows[row["ImageID"]].append((box, index[row["LabelName"]], row["IsGroupOf"] == "1"))
    except (KeyError, ValueError) as error:
        raise DatasetError(f"{path} is not a file of Open Images boxes: {error!r}.") from error
    return {image_id: objects_of(listed) for image_id, listed in rows.items()}


def read_challenge(path: Path, dataset: str) -> dict[str, Objects]:
    """Objects by file name. Per image: its name, a line that says nothing, a count, and `label x1 y1 x2 y2 group`."""
    lines, predictions, at = read_text(path, dataset).split("\n"), {}, 0
    try:
        while at < len(lines) and lines[at].strip():
            count = int(lines[at + 2])
            rows = [line.split() for line in lines[at + 3 : at + 3 + count]]
            listed = [([float(v) for v in row[1:5]], int(row[0]) - 1, row[5] == "1") for row in rows]
            predictions[lines[at].strip()] = objects_of(listed)
            at += 3 + count
    except (IndexError, ValueError) as error:
        raise DatasetError(f"{path} is not a file of challenge boxes, around line {at + 1}: {error}.") from error
    return predictions


def objects_of(listed: Sequence[tuple[list[float], int, bool]]) -> Objects:
    """Rows of (box, label, group) as arrays."""
    boxes = np.array([row[0] for row in listed], np.float32).reshape(-1, 4)
    labels = np.array([row[1] for row in listed], int)
    return Objects(boxes, labels, np.array([row[2] for row in listed], bool))


def read_verified(path: Path, index: Mapping[str, int], dataset: str) -> dict[ImageId, set[int]]:
    """The labels that people verified to be in an image or not to be in it, by image id."""
    verified: dict[ImageId, set[int]] = defaultdict(set)
    try:
        for row in csv.DictReader(read_text(path, dataset).splitlines()):
            verified[row["ImageID"]].add(index[row["LabelName"]])
    except KeyError as error:
        raise DatasetError(f"{path} is not a file of Open Images image labels: {error!r}.") from error
    return verified
