"""Run by torchrun in test_accuracy.py: `sharded.py OUT normal|die`."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from benchmarks.accuracy import measure
from benchmarks.datasets.catalog import open_dataset
from benchmarks.datasets.request import MetricConfig
from tests.benchmarks.stubs import ColorDetector
from zoo.errors import ZooError
from zoo.structures import Sample


class Mortal(ColorDetector):
    """Rank 1 dies at its first image."""

    def preprocess(self, path: Path) -> Sample:
        if os.environ["RANK"] == "1":
            os._exit(9)
        return super().preprocess(path)


def main(out: str, how: str) -> None:
    data = Path(__file__).parents[2] / "data" / "coco"
    dataset = open_dataset("coco_2017", data, MetricConfig(ColorDetector.classes, ("box", "mask")))
    try:
        result = measure.measure(Mortal() if how == "die" else ColorDetector(), dataset, batch_size=3)
    except ZooError as error:
        sys.exit(f"bench: {error}")
    if result is not None:
        Path(out).write_text(json.dumps(result.metrics))


if __name__ == "__main__":
    main(*sys.argv[1:])
