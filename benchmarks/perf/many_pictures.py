"""`bench accuracy` on a data set of 5,000 generated pictures: is memory flat, and do workers help?

    python -m benchmarks.perf.many_pictures [--pictures 5000] [--workers 0,1,2,4] [--json]

The detector is a stand-in that reads every pixel and finds 100 boxes in each picture, so that reading, resizing,
collecting and evaluating are what is measured. For each number of workers: pictures per second, and how far the peak
resident size of all pictures is above that of the first tenth. What must grow are the results: 2,800 bytes of boxes,
scores and labels for each picture, and what the evaluation makes of them.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import torch
from torch import Tensor

import zoo
from benchmarks import accuracy, pictures
from benchmarks.datasets import Request
from benchmarks.datasets.coco import CocoDataset
from benchmarks.memory import MemoryMeter
from benchmarks.perf.evaluation import generate
from zoo.structures import Detections, Frame, Sample

DIFFERENT = 16


class StandIn:
    """A detector for `accuracy.measure`: COCO's usual preprocessing, and boxes that depend on the pixels."""

    def __init__(self) -> None:
        self.preprocess = zoo.preprocessor("yolox_nano_8x8_300e_coco")
        self.boxes = torch.rand(100, 4, generator=torch.Generator().manual_seed(0)) * 100

    def detect_sample(self, sample: Sample, home: Tensor) -> Detections:
        """One preprocessed picture."""
        return self.predict(sample.image[None].to(home), [sample.frame])[0]

    def predict(self, images: Tensor, frames: Sequence[Frame]) -> list[Detections]:
        """A hundred boxes for each picture (N, 3, H, W)."""
        shifts = images.mean(dim=(1, 2, 3))
        return [self.detections(float(shift)).to_output(frame) for shift, frame in zip(shifts, frames)]

    def detections(self, shift: float) -> Detections:
        """Boxes moved by `shift` pixels, best first."""
        corners = self.boxes + shift
        boxes = torch.cat([corners[:, :2], corners[:, :2] + self.boxes[:, 2:] + 1], dim=1)
        return Detections(boxes, torch.linspace(1, 0.1, 100), torch.arange(100) % 80)


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--pictures", type=int, default=5000)
    parser.add_argument("--workers", default="0,1,2,4", help="numbers with commas (%(default)s)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        dataset = write(Path(folder), args.pictures)
        rows = [measure(dataset, int(workers)) for workers in args.workers.split(",")]
    if args.json:
        print(json.dumps(rows, indent=1))
        return
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


def measure(dataset: CocoDataset, workers: int) -> dict[str, Any]:
    """One number of workers."""
    count = len(dataset.images)
    tenth, _ = run(dataset, workers, max(count // 10, 1))
    whole, seconds = run(dataset, workers, count)
    return {
        "workers": workers,
        "pictures": count,
        "pictures/s": round(count / seconds, 1),
        "peak of a tenth, MiB": round(tenth),
        "peak of all, MiB": round(whole),
        "growth, bytes per picture": round((whole - tenth) * 2**20 / (count - count // 10)),
    }


def run(dataset: CocoDataset, workers: int, limit: int) -> tuple[float, float]:
    """Peak resident size in MiB and seconds of an evaluation of the first pictures."""
    meter, began = MemoryMeter().start(), time.perf_counter()
    accuracy.measure(StandIn(), dataset, workers=workers, limit=limit, progress=False)  # type: ignore[arg-type]
    return meter.read()["resident_peak_mib"], time.perf_counter() - began


def write(folder: Path, count: int) -> CocoDataset:
    """A data set in COCO's layout, whose pictures are a few files under many names."""
    truth, _ = generate(count, 0)
    (folder / "annotations.json").write_text(json.dumps(truth))
    (folder / "pictures").mkdir()
    for i, picture in enumerate(pictures.generated(min(DIFFERENT, count))):
        cv2.imwrite(str(folder / f"{i}.jpg"), picture)
    for i, row in enumerate(truth["images"]):
        os.link(folder / f"{i % DIFFERENT}.jpg", folder / "pictures" / row["file_name"])
    return CocoDataset("generated", folder, Request(), "annotations.json", "pictures")


if __name__ == "__main__":
    main()
