"""Data sets, each a reader of the native folder layout together with its metric.

    dataset = open_dataset("coco_2017", "data/coco", Request(classes=..., measures=("box", "mask")))
    dataset.images      -> list of Picture(id, path), in the data set's order
    dataset.classes, dataset.category_ids -> name and the data set's own number of each label
    dataset.evaluate({image_id: Found, ...}) -> {"box_ap": 0.374, ...}

`evaluate` looks only at the pictures that it is given, so a part of a data set is evaluated as if it were all of it.
Numbers are shares from 0 to 1. Every error names the file that was expected.
`benchmarks.datasets.catalog` lists what there is; each reader's module says which metric it computes and whose.
"""

from __future__ import annotations

from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.files import DatasetError, UnknownDataset
from benchmarks.datasets.predictions import Found, compact
from benchmarks.datasets.request import ENGINES, PROTOCOLS, Picture, Request

__all__ = [
    "ENGINES",
    "PROTOCOLS",
    "Dataset",
    "DatasetError",
    "Found",
    "Picture",
    "Request",
    "UnknownDataset",
    "compact",
    "open_dataset",
]
