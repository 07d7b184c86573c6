"""A network of a few thousand weights that behaves like a detector."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from zoo.structures import Detections, ImageGeometry, Sample


class Backbone(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, stride=4, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer = nn.Sequential(nn.Conv2d(8, 16, 3, stride=4, padding=1), nn.BatchNorm2d(16), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(self.bn1(self.conv1(x)).relu())


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(16, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class StubDetector(nn.Module):
    """One box per cell of a coarse grid; the ten best are the detections."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.backbone, self.bbox_head = Backbone(), Head()
        for norm in (self.backbone.bn1, self.backbone.layer[1]):
            nn.init.uniform_(norm.running_mean, -0.5, 0.5)
            nn.init.uniform_(norm.running_var, 0.5, 2)
        self.calls = 0
        self.eval()

    def preprocess(self, source: np.ndarray) -> Sample:
        height, width = source.shape[:2]
        image = torch.from_numpy(source.transpose(2, 0, 1).astype(np.float32) / 255)
        return Sample(image, (height, width), (1.0, 1.0), (height, width))

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        self.calls += 1
        maps = self.bbox_head(self.backbone(images)).flatten(2).transpose(1, 2)
        return [self.decode(cells).to_output(geometry) for cells, geometry in zip(maps, geometries)]

    def decode(self, cells: Tensor) -> Detections:
        scores, order = cells[:, 4].sigmoid().topk(10)
        corner = cells[order, :2].abs() * 100
        boxes = torch.cat([corner, corner + 50 + cells[order, 2:4].abs() * 100], dim=1)
        return Detections(boxes, scores, torch.zeros(10, dtype=torch.long))
