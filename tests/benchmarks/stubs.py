"""A detector without a network: it finds rectangles by their color, so everything around a network can be tested."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn

from zoo.models.detectors.base import Detector
from zoo.preprocessing.preprocess import read_image
from zoo.structures import Detections, ImageGeometry, Sample

COLORS = ((230, 30, 30), (30, 200, 30), (40, 40, 230))  # as tests/data/scenes.py paints the classes


class ColorDetector(Detector):
    """Boxes, masks and scores of the rectangles in `COLORS`; images come in at double size."""

    classes = ("person", "bicycle", "car")

    def __init__(self) -> None:
        nn.Module.__init__(self)  # there is no backbone

    def preprocess(self, source: Path | np.ndarray) -> Sample:
        """RGB, twice as large."""
        image = read_image(source)
        height, width = image.shape[:2]
        large = cv2.resize(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), (2 * width, 2 * height))
        tensor = torch.from_numpy(large.transpose(2, 0, 1).astype(np.float32))
        return Sample(tensor, (2 * height, 2 * width), (2.0, 2.0), (height, width))

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in the frames' output coordinates."""
        return [self.find(image, geometry) for image, geometry in zip(images, geometries)]

    def find(self, image: Tensor, geometry: ImageGeometry) -> Detections:
        """The rectangles of one image (3, H, W)."""
        rows = []
        for label, color in enumerate(COLORS):
            near = ((image - torch.tensor(color, dtype=torch.float32)[:, None, None]).abs() < 40).all(0)
            count, _, stats, _ = cv2.connectedComponentsWithStats(near.numpy().astype(np.uint8))
            rows += [(label, *stats[i]) for i in range(1, count) if stats[i][4] > 50]
        rows.sort(key=lambda row: -row[5])
        result = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
        boxes = torch.cat([result[:, 1:3], result[:, 1:3] + result[:, 3:5]], 1)
        boxes = geometry.to_output(boxes)
        return Detections(boxes, result[:, 5] / 1e5, result[:, 0].long(), fill(boxes, geometry.output_size))


def fill(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (K, H, W) of whole boxes."""
    masks = torch.zeros((len(boxes), *size), dtype=torch.bool)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.round().int().tolist()):
        mask[y1:y2, x1:x2] = True
    return masks
