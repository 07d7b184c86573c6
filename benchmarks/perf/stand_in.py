"""A detector that costs next to nothing, and a dataset in COCO's layout for it: what is left is the harness itself."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import torch
from torch import Tensor

import zoo
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.perf.evaluation import generate
from benchmarks.speed import images as images
from zoo.structures import Detections, ImageGeometry, Sample

DIFFERENT = 16


class StandIn:
    """Reads every pixel of an input of 416 x 416 and finds 100 boxes, which depend on the pixels."""

    def __init__(self) -> None:
        self.preprocess = zoo.preprocessor("yolox_nano_8x8_300e_coco")
        self.boxes = torch.rand(100, 4, generator=torch.Generator().manual_seed(0)) * 100

    def detect_sample(self, sample: Sample, home: Tensor) -> Detections:
        """One preprocessed image."""
        return self.predict(sample.image[None].to(home), [sample.geometry])[0]

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """A hundred boxes for each image (N, 3, H, W)."""
        shifts = images.mean(dim=(1, 2, 3))
        return [self.detections(float(shift)).to_output(geometry) for shift, geometry in zip(shifts, geometries)]

    def detections(self, shift: float) -> Detections:
        """Boxes moved by `shift` pixels, best first."""
        corners = self.boxes + shift
        boxes = torch.cat([corners[:, :2], corners[:, :2] + self.boxes[:, 2:] + 1], dim=1)
        return Detections(boxes, torch.linspace(1, 0.1, 100), torch.arange(100) % 80)


def write(folder: Path, count: int) -> Path:
    """A dataset of `count` images of 480 x 640, a few files under many names. Returns the folder."""
    ground_truth, _ = generate(count, 0)
    (folder / "images").mkdir(parents=True)
    (folder / "annotations.json").write_text(json.dumps(ground_truth))
    for i, image in enumerate(images.generated(min(DIFFERENT, count))):
        cv2.imwrite(str(folder / f"{i}.jpg"), image)
    for i, row in enumerate(ground_truth["images"]):
        os.link(folder / f"{i % DIFFERENT}.jpg", folder / "images" / row["file_name"])
    return folder


def opened(folder: Path) -> CocoDataset:
    """The dataset in a folder."""
    return CocoDataset("generated", folder, MetricConfig(), "annotations.json", "images")
