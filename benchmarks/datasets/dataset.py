"""`Dataset`: the interface of every reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage
from benchmarks.datasets.resampling import Resampled


class Dataset(Protocol):
    """What every reader offers."""

    name: str
    root: Path
    classes: tuple[str, ...]
    category_ids: list[Any]
    images: list[DatasetImage]
    notices: list[str]

    def ground_truth_files(self) -> list[Path]:
        """Files with the ground truth of single images, which are read only when an image is evaluated; often none."""
        ...

    def evaluate(self, predictions: Mapping[Any, Predictions]) -> dict[str, float]:
        """The dataset's metric over the images in `predictions`: numbers by name, 0 to 1."""
        ...

    def resample(self, predictions: Mapping[Any, Predictions]) -> Resampled:
        """The same numbers of datasets of as many images, drawn from these with replacement."""
        ...
