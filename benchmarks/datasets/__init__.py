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

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

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


class Dataset(Protocol):
    """What every reader offers."""

    name: str
    root: Path
    classes: tuple[str, ...]
    category_ids: list[Any]
    images: list[DatasetImage]
    notices: list[str]

    def truth_files(self) -> list[Path]:
        """Files with the ground truth of single images, which are read only when an image is evaluated; often none."""
        ...

    def evaluate(self, predictions: Mapping[Any, Predictions]) -> dict[str, float]:
        """The dataset's metric over the images in `predictions`: numbers by name, 0 to 1."""
        ...


def open_dataset(name: str, root: Path | str, request: MetricConfig | None = None) -> Dataset:
    """The dataset called `name` in the folder `root`.

    Raises UnknownDataset, or DatasetError where a file is missing or is not what the layout says.
    """
    from benchmarks.datasets.catalog import spec

    return spec(name).open(Path(root), request or MetricConfig())
