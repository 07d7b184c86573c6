"""A bootstrap over a dataset's images: the metric of datasets of the same size, drawn with replacement."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

import numpy as np

from benchmarks.datasets import coco_bootstrap, coco_matches
from benchmarks.datasets.coco_bootstrap import MetricDefinition
from benchmarks.datasets.coco_matches import Matches
from benchmarks.datasets.coco_metric import limits
from benchmarks.datasets.coco_results import Source
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
    """COCO's APs for each measure of a request. Arguments as for `coco_metric.evaluate`, by measure."""
    drawn = coco_bootstrap.draw(len(image_ids), REPLICATES, SEED)
    weights = np.concatenate([np.ones((len(image_ids), 1)), drawn], 1)
    replicates, all_images, classes = {}, {}, {}
    names = {row["id"]: row["name"] for row in ground_truth["categories"]}
    for measure in request.measures:
        if definitions := coco_bootstrap.definitions(measure, request.protocol):
            most = max(limits(measure, request.protocol))
            matches = coco_matches.match(ground_truth, source(measure), measure, image_ids, category_ids, most)
            for name, values in coco_bootstrap.precisions(matches, definitions, weights).items():
                all_images[name] = -1.0 if np.isnan(values[0]) else float(values[0])
                replicates[name] = values[1:].tolist()
            classes[measure] = class_precisions(matches, definitions[f"{measure}_ap"], names)
    parameters = {"images": len(image_ids), "replicates": REPLICATES, "seed": SEED}
    return Resampled(replicates, all_images, parameters | {"drawn_from": digest(ground_truth, image_ids)}, classes)


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
