"""Pascal VOC in its own layout, with its mAP at IoU 0.5: 11 points for 2007, the area under the curve since 2010.

Coordinates mean whole pixels and begin at 1 in the files; objects marked as difficult count for nothing.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.datasets import resampling
from benchmarks.datasets.classes import few
from benchmarks.datasets.files import DatasetError, read_text, require_folder
from benchmarks.datasets.mean_ap import Floats, Ranked, curve, known_mean, match, overlaps, weighted_precision
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from zoo.coco_format.sizes import file_size
from zoo.manifest import api
from zoo.text import printable


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
        self.objects = {
            image.id: read_objects(file, self.classes, image.path)
            for image, file in zip(self.images, self.ground_truth_files())
            if file.exists()
        }
        if self.objects and not any(len(one.labels) for one in self.objects.values()):
            raise DatasetError(
                f"{self.folder / 'Annotations'} has no object of the model's classes: {few(self.classes)}."
            )

    def ground_truth_files(self) -> list[Path]:
        """The XML file of each image."""
        return [self.folder / "Annotations" / f"{image.id}.xml" for image in self.images]

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """map_50 by the year's own rule, and map_50_11_points and map_50_area by either."""
        return self.weighing(predictions)(np.ones(len(predictions)))

    def resample(self, predictions: Mapping[ImageId, Predictions]) -> Resampled:
        """The same of datasets drawn from the images in `predictions`."""
        objects = [(i, *self.objects[i]) for i in predictions]
        drawn_from = resampling.digest_of([self.classes, *(part for row in objects for part in row)])
        return resampling.of_metric(self.weighing(predictions), list(predictions), drawn_from)

    def weighing(self, predictions: Mapping[ImageId, Predictions]) -> Callable[[Floats], dict[str, float]]:
        """The numbers by weights of the images."""
        count = len(predictions)
        parts = [rank(predictions, self.objects, label) for label in range(len(self.classes))]
        curves = [curve(listed, range(count), count) for listed in parts]

        def weigh(weights: Floats) -> dict[str, float]:
            points = known_mean(weighted_precision(one, weights, eleven_points=True) for one in curves)
            area = known_mean(weighted_precision(one, weights) for one in curves)
            return {
                "map_50": points if self.eleven_points else area,
                "map_50_11_points": points,
                "map_50_area": area,
            }

        return weigh


def rank(
    predictions: Mapping[ImageId, Predictions], ground_truth: Mapping[ImageId, Objects], label: int
) -> list[Ranked]:
    """All detections of a class as hits and misses, image by image."""
    parts = []
    for image_id, one in predictions.items():
        objects, mine = ground_truth[image_id], one.labels == label
        theirs = objects.labels == label
        shared = overlaps(one.boxes[mine], objects.boxes[theirs], extent=1.0)
        difficult = objects.difficult[theirs]
        scores = one.scores[mine]
        parts.append(Ranked(scores, *match(shared, scores, difficult), int((~difficult).sum())))
    return parts


def read_objects(path: Path, classes: Sequence[str], image: Path) -> Objects:
    """The objects of known classes in an annotation file; image: its image, of the size that the file says.

    Raises DatasetError with the file and what is wrong in it, UnreadableImage.
    """
    try:
        root = ElementTree.fromstring(path.read_bytes())
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror or error}.") from None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        raise DatasetError(f"{path} is not an annotation file of Pascal VOC: {error}.") from None
    check_size(root, path, image)
    nodes = [node for node in root.findall("object") if node.findtext("name", "").strip() in classes]
    boxes = [box_of(node, path, number) for number, node in enumerate(nodes, 1)]
    labels = [list(classes).index(node.findtext("name", "").strip()) for node in nodes]
    difficult = [number_in(node, "difficult", path, "0") != 0 for node in nodes]
    return Objects(np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, int), np.array(difficult, bool))


def check_size(root: ElementTree.Element, path: Path, image: Path) -> None:
    """Raise DatasetError where the annotated size is not the image's."""
    annotated = tuple(root.findtext(f"size/{side}") for side in ("height", "width"))
    actual = file_size(image) if all(annotated) else None
    if actual and annotated != tuple(map(str, actual)):
        sizes = f"{annotated[1]} x {annotated[0]} pixels, {image.name} has {actual[1]} x {actual[0]}"
        raise DatasetError(f"{path} is for an image of {sizes}.")


def box_of(node: ElementTree.Element, path: Path, number: int) -> list[float]:
    """xyxy from 0."""
    box = [float(int(number_in(node, f"bndbox/{side}", path)) - 1) for side in SIDES]
    if box[2] < box[0] or box[3] < box[1]:
        raise DatasetError(f"{path}: object {number} has a box that ends before it begins: {box}.")
    return box


def number_in(node: ElementTree.Element, tag: str, path: Path, default: str = "") -> float:
    """A finite number of an object."""
    text = (node.findtext(tag) or default).strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DatasetError(f"{path}: <{tag}> of a {node.findtext('name')} is '{printable(text, 40)}', not a number.")
    return value


SIDES = ("xmin", "ymin", "xmax", "ymax")
