"""Pascal VOC in its own layout, with its mAP at IoU 0.5: 11 points for 2007, the area under the curve since 2010.

Coordinates mean whole pixels and begin at 1 in the files; objects marked as difficult count for nothing.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.datasets.files import DatasetError, read_text, require_folder
from benchmarks.datasets.mean_ap import Ranked, average_precision, join, match, mean, overlaps
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from zoo.manifest import api


class Objects(NamedTuple):
    """What is in an image: boxes (M, 4) xyxy from 0, labels (M,), difficult (M,)."""

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


class VocDataset:
    """One year of Pascal VOC. folder: that year's folder below `root`. split: a list in ImageSets/Main."""

    def __init__(self, name: str, root: Path, request: MetricConfig, folder: str, split: str) -> None:
        self.name, self.root, self.folder = name, root, root / folder
        self.notices: list[str] = []
        self.eleven_points = folder == "VOC2007"
        self.classes = request.classes or api.dataset("voc_0712").classes
        self.category_ids = list(range(1, len(self.classes) + 1))
        listed = read_text(self.folder / "ImageSets" / "Main" / f"{split}.txt", name).split("\n")
        images = require_folder(self.folder / "JPEGImages", name)
        require_folder(self.folder / "Annotations", name)
        ids = [line.split()[0] for line in listed if line.strip()]
        self.images = [DatasetImage(i, images / f"{i}.jpg") for i in ids]

    def truth_files(self) -> list[Path]:
        """The XML file of each image."""
        return [self.folder / "Annotations" / f"{image.id}.xml" for image in self.images]

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """map_50 by the year's own rule, and map_50_11_points and map_50_area by either."""
        ground_truth = {
            i: read_objects(self.folder / "Annotations" / f"{i}.xml", self.classes, self.name) for i in predictions
        }
        ranked = [rank(predictions, ground_truth, label) for label in range(len(self.classes))]
        present = [one for one in ranked if one.positives]
        points = mean(average_precision(one, eleven_points=True) for one in present)
        area = mean(average_precision(one) for one in present)
        return {
            "map_50": points if self.eleven_points else area,
            "map_50_11_points": points,
            "map_50_area": area,
        }


def rank(predictions: Mapping[ImageId, Predictions], ground_truth: Mapping[ImageId, Objects], label: int) -> Ranked:
    """All detections of a class as hits and misses."""
    parts = []
    for image_id, one in predictions.items():
        objects, mine = ground_truth[image_id], one.labels == label
        theirs = objects.labels == label
        shared = overlaps(one.boxes[mine], objects.boxes[theirs], extent=1.0)
        difficult = objects.difficult[theirs]
        scores = one.scores[mine]
        parts.append(Ranked(scores, *match(shared, scores, difficult), int((~difficult).sum())))
    return join(parts)


def read_objects(path: Path, classes: tuple[str, ...], dataset: str) -> Objects:
    """The objects of known classes in an annotation file."""
    try:
        nodes = ElementTree.fromstring(read_text(path, dataset)).findall("object")
        known = [node for node in nodes if node.findtext("name") in classes]
        boxes = [[int(float(node.findtext(f"bndbox/{side}", ""))) - 1 for side in SIDES] for node in known]
        labels = [classes.index(node.findtext("name", "")) for node in known]
        difficult = [int(node.findtext("difficult") or 0) != 0 for node in known]
    except (ElementTree.ParseError, ValueError) as error:
        raise DatasetError(f"{path} is not an annotation file of Pascal VOC: {error}.") from error
    return Objects(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, int), np.array(difficult, bool))


SIDES = ("xmin", "ymin", "xmax", "ymax")
