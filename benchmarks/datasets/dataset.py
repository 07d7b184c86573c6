"""`Dataset`: the interface of every reader."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from benchmarks.datasets.predictions import Found
from benchmarks.datasets.request import Picture


class Dataset(Protocol):
    """What every reader offers."""

    name: str
    root: Path
    classes: tuple[str, ...]
    category_ids: list[int]
    images: list[Picture]

    def truth_files(self) -> list[Path]:
        """Files with the truth of single pictures, which are read only when a picture is evaluated; often none."""
        ...

    def evaluate(self, found: Mapping[int | str, Found]) -> dict[str, float]:
        """The data set's metric over the pictures in `found`: numbers by name, 0 to 1."""
        ...
