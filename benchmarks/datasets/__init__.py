"""Datasets, each a reader of the native folder layout together with its metric.

    dataset = open_dataset("coco_2017", "data/coco", MetricConfig(classes=..., measures=("box", "mask")))
    dataset.images      -> list of DatasetImage(id, path), in the dataset's order
    dataset.classes, dataset.category_ids -> name and the dataset's own number of each label
    dataset.evaluate({image_id: Predictions, ...}) -> {"box_ap": 0.374, ...}

`evaluate` looks only at the images that it is given, so a part of a dataset is evaluated as if it were all of it.
Numbers are shares from 0 to 1. Every error names the file that was expected.
`benchmarks.datasets.catalog` lists what there is; each reader's module says which metric it computes and whose.
"""

from __future__ import annotations

from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.files import DatasetError, UnknownDataset
from benchmarks.datasets.predictions import Predictions, compact
from benchmarks.datasets.request import METRIC_BACKENDS, PROTOCOLS, DatasetImage, MetricConfig

__all__ = [
    "METRIC_BACKENDS",
    "PROTOCOLS",
    "Dataset",
    "DatasetError",
    "DatasetImage",
    "MetricConfig",
    "Predictions",
    "UnknownDataset",
    "compact",
    "open_dataset",
]
