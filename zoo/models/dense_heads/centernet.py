"""CenterNet's head (Zhou et al., Objects as Points, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.heatmaps import find_peaks
from zoo.models.dense_heads.towers import over_levels, prior_bias
from zoo.models.layers.constants import constant
from zoo.structures import Detections, ImageGeometry


class CenterNetHead(nn.Module):
    """A heatmap of centers per class, and at every cell a box's size and the center's offset."""

    def __init__(
        self,
        in_channel: int,
        feat_channel: int,
        num_classes: int,
        loss_center_heatmap: Mapping[str, Any] | None = None,
        loss_wh: Mapping[str, Any] | None = None,
        loss_offset: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.loss_cfg = {"center_heatmap": loss_center_heatmap, "wh": loss_wh, "offset": loss_offset}
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        self.heatmap_head = branch(in_channel, feat_channel, num_classes)
        self.wh_head = branch(in_channel, feat_channel, 2)
        self.offset_head = branch(in_channel, feat_channel, 2)
        nn.init.constant_(self.heatmap_head[-1].bias, prior_bias(0.1))  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """For the one map (N, C, H, W): scores (N, C, H, W), sizes and offsets (N, 2, H, W), x first, in cells."""
        return over_levels(self.forward_level, features)

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One level's maps."""
        return self.heatmap_head(x).sigmoid(), self.wh_head(x), self.offset_head(x)

    def predict(
        self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry], input_size: tuple[int, int]
    ) -> list[Detections]:
        """Detections in input coordinates, without suppression. input_size: (h, w) of the padded batch."""
        heat, sizes, offsets = (maps[0] for maps in outputs)
        pixels = constant((input_size[1] / heat.shape[3], input_size[0] / heat.shape[2]), heat)
        return [self.predict_one(heat[i], sizes[i], offsets[i], pixels) for i in range(len(geometries))]

    def predict_one(self, heat: Tensor, sizes: Tensor, offsets: Tensor, pixels: Tensor) -> Detections:
        """One image's detections. heat: (C, H, W). sizes, offsets: (2, H, W). pixels: (2,) per cell, x and y."""
        peaks = find_peaks(heat, self.test_cfg["topk"], self.test_cfg["local_maximum_kernel"])
        center = torch.stack([peaks.x, peaks.y], dim=1) + peaks.read(offsets)
        half = peaks.read(sizes) / 2
        boxes = torch.cat([(center - half) * pixels, (center + half) * pixels], dim=1)
        return Detections(boxes, peaks.scores, peaks.labels)


def branch(in_channels: int, channels: int, out_channels: int) -> nn.Sequential:
    """A 3x3 convolution and a predictor."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(channels, out_channels, 1)
    )
