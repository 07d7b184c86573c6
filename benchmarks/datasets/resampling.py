"""A bootstrap over a dataset's images: the metric of datasets of the same size, drawn with replacement."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets import coco_bootstrap, coco_matches
from benchmarks.datasets.coco_bootstrap import MetricDefinition
from benchmarks.datasets.coco_matches import Matches
from benchmarks.datasets.coco_metric import limits
from benchmarks.datasets.coco_results import Results, Source
from benchmarks.datasets.request import ImageId, MetricConfig

REPLICATES, SEED = 1000, 0


@dataclass(frozen=True)
class Resampled:
    """replicates: metric -> its value in each drawn dataset, NaN where there was nothing to find. all_images: its value
    over the images as they are, -1 likewise. parameters: what was drawn, and a digest of what it was drawn from.
    classes: measure -> class -> its AP over the images as they are, for classes with objects.
    """

    replicates: Mapping[str, Sequence[float]]
    all_images: Mapping[str, float]
    parameters: Mapping[str, Any]
    classes: Mapping[str, Mapping[str, float]] = field(default_factory=dict)


def resample(
    ground_truth: Mapping[str, Any],
    source: Callable[[str], Source],
    image_ids: Sequence[ImageId],
    category_ids: Sequence[int],
    request: MetricConfig,
) -> Resampled:
    """COCO's APs and average recalls for each measure. Arguments as for `coco_metric.evaluate`, by measure."""
    weights = weightings(len(image_ids))
    values: dict[str, NDArray[np.float64]] = {}
    classes = {}
    names = {row["id"]: row["name"] for row in ground_truth["categories"]}
    for measure in request.measures:
        most = max(limits(measure, request.protocol))
        if measure == "proposal":
            matches = coco_matches.match(
                of_one_class(ground_truth), one_class(source(measure)), measure, image_ids, [1], most
            )
        else:
            matches = coco_matches.match(ground_truth, source(measure), measure, image_ids, category_ids, most)
        if definitions := coco_bootstrap.definitions(measure, request.protocol):
            values |= coco_bootstrap.precisions(matches, definitions, weights)
            classes[measure] = class_precisions(matches, definitions[f"{measure}_ap"], names)
        recalls = coco_bootstrap.recall_definitions(measure, request.protocol)
        values |= coco_bootstrap.recalls(matches, recalls, weights)
    return of_values(values, len(image_ids), digest(ground_truth, image_ids), classes)


def weightings(images: int) -> NDArray[np.float64]:
    """(N, 1 + R): the images as they are, and how often each is drawn."""
    drawn = coco_bootstrap.draw(images, REPLICATES, SEED)
    return np.concatenate([np.ones((images, 1)), drawn], 1)


def of_values(
    values: Mapping[str, NDArray[np.float64]],
    images: int,
    drawn_from: str,
    classes: Mapping[str, Mapping[str, float]],
) -> Resampled:
    """From each number's values (1 + R,) for `weightings`."""
    all_images = {name: -1.0 if np.isnan(one[0]) else float(one[0]) for name, one in values.items()}
    replicates = {name: one[1:].tolist() for name, one in values.items()}
    return Resampled(replicates, all_images, parameters(images, drawn_from), classes)


def parameters(images: int, drawn_from: str) -> dict[str, Any]:
    """What was drawn, for the record."""
    return {"images": images, "replicates": REPLICATES, "seed": SEED, "drawn_from": drawn_from}


def of_one_class(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A document without classes, as proposals are compared with it."""
    return {**document, "annotations": [row | {"category_id": 1} for row in document["annotations"]]}


def one_class(source: Source) -> Source:
    """Results without classes."""

    def results(image_ids: Sequence[ImageId]) -> Results:
        rows = source(image_ids)
        if isinstance(rows, np.ndarray):
            return np.concatenate([rows[:, :6], np.ones((len(rows), 1))], 1)
        return [row | {"category_id": 1} for row in rows]

    return results


Weigh = Callable[[NDArray[np.float64]], Mapping[str, float]]
"""A metric of a dataset that has each image so many times: from weights (N,) to numbers by name, -1 for unknown."""


def of_metric(weigh: Weigh, image_ids: Sequence[ImageId], drawn_from: str) -> Resampled:
    """The numbers of any metric that is computed from what was found in each image, matched once.

    drawn_from: a digest of images and objects, as `digest_of` makes it.
    """
    drawn = coco_bootstrap.draw(len(image_ids), REPLICATES, SEED)
    all_images = dict(weigh(np.ones(len(image_ids))))
    rows = [weigh(drawn[:, i]) for i in range(REPLICATES)]
    replicates = {name: [row[name] if row[name] >= 0 else float("nan") for row in rows] for name in all_images}
    known = {name: values for name, values in replicates.items() if all_images[name] >= 0}
    return Resampled(known, all_images, parameters(len(image_ids), drawn_from))


def together(parts: Sequence[Resampled]) -> Resampled:
    """Several metrics of the same images, drawn alike."""
    replicates: dict[str, Sequence[float]] = {}
    all_images: dict[str, float] = {}
    classes: dict[str, Mapping[str, float]] = {}
    for part in parts:
        replicates |= part.replicates
        all_images |= part.all_images
        classes |= part.classes
    joined = digest_of([str(part.parameters["drawn_from"]) for part in parts])
    drawn_from = parts[0].parameters["drawn_from"] if len(parts) == 1 else joined
    return Resampled(replicates, all_images, {**parts[0].parameters, "drawn_from": drawn_from}, classes)


def digest_of(parts: Iterable[Any]) -> str:
    """A hash of images and objects, as arrays and what has a text, in order."""
    total = sha256()
    for part in parts:
        total.update(part.tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return total.hexdigest()[:16]


def class_precisions(matches: Matches, definition: MetricDefinition, names: Mapping[int, str]) -> dict[str, float]:
    """The AP of each class with objects, over the images as they are."""
    weights = np.ones((len(matches.images), 1))
    table = coco_bootstrap.by_class(matches, definition.area, definition.limit, weights)[..., 0].mean(1)
    pairs = zip(coco_bootstrap.classes_with_objects(matches), table.tolist())
    return {names[number]: round(value, 6) for number, value in pairs if value == value}


def digest(ground_truth: Mapping[str, Any], image_ids: Sequence[ImageId]) -> str:
    """A hash of images and objects that does not depend on the order of the model's classes."""
    names = {row["id"]: row["name"] for row in ground_truth["categories"]}
    counted = set(image_ids)
    objects = sorted(
        [row["image_id"], names[row["category_id"]], *row["bbox"], row["iscrowd"]]
        for row in ground_truth["annotations"]
        if row["image_id"] in counted
    )
    return sha256(json.dumps([sorted(counted), objects]).encode()).hexdigest()[:16]  # type: ignore[type-var]
