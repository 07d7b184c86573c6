"""The definitions of published accuracies, so that like is compared with like.

One metric has several definitions: COCO's with at most 100 or 1000 detections, recall with two ways of matching. A
definition names the measured number that corresponds to a published number, and describes it in words.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from benchmarks.datasets.catalog import DATASETS
from zoo.manifest.entry import Entry


class MetricDefinition(NamedTuple):
    """measured: the metric of an accuracy record to compare with. text: the definition of the published number."""

    measured: str
    text: str


# Average precisions of COCO are taken at 100 detections under either protocol, so they compare under both.
MMDET_AP, COCO_AP = "mmdet-v2: maxDets=(100, 300, 1000), AP at 100", "coco: maxDets=(1, 10, 100), AP at 100"
# MMDetection's `proposal_fast` and Detectron2's proposal evaluation match greedily, COCO's own recall does not.
FLIPPED = "_flip"  # published with mirror images at test time, beside the number without them
RECALL = {"ar_1000": MetricDefinition("greedy_ar_1000", "greedy matching of 1000 proposals")}
OWN = {
    "lvis": "LVIS API, 300 detections",
    "voc": "VOC 2007, 11 points",
    "open_images": "MMDetection's Open Images evaluation",
    "panoptic": "panopticapi",
}


def measured_name(metric: str) -> str:
    """The name under which a published metric is measured."""
    return RECALL[metric].measured if metric in RECALL else metric


def definition_of(metric: str, entry: Entry) -> MetricDefinition:
    """The definition of a published metric of a model."""
    if metric in RECALL:
        return RECALL[metric]
    reader = DATASETS[entry.dataset].reader.partition(":")[0]
    if reader in OWN and not (reader == "panoptic" and metric.endswith("_ap")):
        return MetricDefinition(metric, OWN[reader])
    return MetricDefinition(metric, MMDET_AP if entry.origin == "mmdetection" else COCO_AP)


def published(entry: Entry, dataset: str, split: str) -> Mapping[str, float]:
    """What was published about a model for a part of a dataset; nothing for other images than those."""
    chosen = DATASETS.get(dataset)
    at_home = chosen is not None and dataset == entry.dataset and split == chosen.split
    return entry.metrics.get(chosen.published, {}) if chosen and at_home else {}


def compare(entry: Entry, parameters: Mapping[str, Any], metrics: Mapping[str, float]) -> list[dict[str, Any]]:
    """Rows of metric, published, measured and difference in percent points, and the published number's definition.

    parameters, metrics: those of an accuracy record; metrics are from 0 to 1. Numbers of a part of the images are
    not comparable: there is no difference, and the row states the number of images.
    """
    rows = []
    images, of = parameters.get("images"), parameters.get("all_images")
    for name, value in published(entry, parameters.get("dataset", ""), parameters.get("split", "")).items():
        if name.endswith(FLIPPED) != bool(parameters.get("tta")):
            continue  # measured in another way
        definition = definition_of(name.removesuffix(FLIPPED), entry)
        if metrics.get(definition.measured, -1) >= 0:
            points = 100 * metrics[definition.measured]
            numbers = {"published": value, "measured": points, "difference": points - value}
            row = {"metric": definition.measured, **numbers, "definition": definition.text}
            if images and of and images < of:
                row |= {"difference": None, "definition": f"{images_text(images, of)}; published: {definition.text}"}
            rows.append(row)
    return rows


def images_text(images: int, of: int | None) -> str:
    """`38 of 5,000 images`, or `5,000 images` where these are all."""
    return f"{images:,} of {of:,} images" if of and images < of else f"{images:,} images"
