"""Grid R-CNN: a box is found by the points of a grid inside it (Lu et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.graph_norm import GroupNorm
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.standard import StandardRoIHead, counts, split
from zoo.structures import Detections, ImageGeometry

GN = {"type": "GN", "num_groups": 36}


class GridRoIHead(StandardRoIHead):
    """Classified regions whose boxes are then replaced by those that the grid head finds."""

    def __init__(
        self, grid_head: Mapping[str, Any], grid_roi_extractor: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.grid_head = component(grid_head)
        self.grid_roi_extractor = component(grid_roi_extractor) if grid_roi_extractor else None

    def predict_boxes(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """Detections without masks, in input coordinates."""
        detections = super().predict_boxes(features, proposals, geometries)
        extractor = self.grid_roi_extractor or self.bbox_roi_extractor
        heatmaps = self.grid_head(extractor(features, rois_of([d.boxes for d in detections])))
        parts = split(heatmaps, counts(detections))
        return [replace(d, boxes=self.grid_head.boxes(d.boxes, part)) for d, part in zip(detections, parts)]


class GridHead(nn.Module):
    """A heatmap for each point of a square grid; neighboring points exchange features twice before that.

    grid_points: a square number; point (i, j) is column i and row j of the grid. point_feat_channels: per point.
    Each heatmap covers the half of the doubled region in which its point can lie.
    """

    def __init__(
        self,
        grid_points: int = 9,
        num_convs: int = 8,
        roi_feat_size: int = 14,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        point_feat_channels: int = 64,
        deconv_kernel_size: int = 4,
        loss_grid: Mapping[str, Any] | None = None,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = GN,
    ) -> None:
        super().__init__()
        self.grid_points, self.grid_size = grid_points, round(grid_points**0.5)
        if self.grid_size**2 != grid_points:
            raise ValueError(f"grid_points must be a square number, not {grid_points}")
        self.point_channels, self.whole_map_size = point_feat_channels, roi_feat_size * 4
        self.loss_cfg = {"grid": loss_grid}
        channels = point_feat_channels * grid_points
        self.convs = nn.Sequential(
            *(
                ConvModule(
                    in_channels if i == 0 else channels,
                    channels,
                    conv_kernel_size,
                    stride=2 if i == 0 else 1,
                    padding=(conv_kernel_size - 1) // 2,
                    conv_cfg=conv_cfg,
                    norm_cfg=norm_cfg,
                    bias=True,
                )
                for i in range(num_convs)
            )
        )
        deconv: dict[str, Any] = {"stride": 2, "padding": (deconv_kernel_size - 2) // 2, "groups": grid_points}
        self.deconv1 = nn.ConvTranspose2d(channels, channels, deconv_kernel_size, **deconv)
        self.norm1 = GroupNorm(grid_points, channels)
        self.deconv2 = nn.ConvTranspose2d(channels, grid_points, deconv_kernel_size, **deconv)
        self.neighbors = grid_neighbors(self.grid_size)
        self.forder_trans = transitions(self.neighbors, point_feat_channels)
        self.sorder_trans = transitions(self.neighbors, point_feat_channels)
        for layer in (self.deconv1, self.deconv2):
            nn.init.normal_(layer.weight, std=0.001)
        nn.init.constant_(self.deconv2.bias, -4.595)  # type: ignore[arg-type]  # a sigmoid of 0.01

    def forward(self, x: Tensor) -> Tensor:
        """Region features (M, C, h, w) to heatmap logits (M, grid_points, 2 * h, 2 * w)."""
        return self.heatmaps(self.fused(self.convs(x)))

    def both(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """What training compares: heatmap logits with and without the neighbors' features."""
        x = self.convs(x)
        return self.heatmaps(self.fused(x)), self.heatmaps(x)

    def fused(self, x: Tensor) -> Tensor:
        """All points' features (M, grid_points * c, h, w) with those of their neighbors."""
        points = list(x.split(self.point_channels, dim=1))
        first = self.exchange(points, points, self.forder_trans)
        return torch.cat(self.exchange(points, first, self.sorder_trans), dim=1)

    def exchange(self, points: list[Tensor], sources: list[Tensor], layers: nn.ModuleList) -> list[Tensor]:
        """Each point's features (M, c, h, w) plus what its neighbors' `sources` are turned into."""
        return [
            torch.stack(
                [point, *(layer(sources[j]) for layer, j in zip(cast(nn.ModuleList, layers[i]), self.neighbors[i]))]
            ).sum(dim=0)
            for i, point in enumerate(points)
        ]

    def heatmaps(self, x: Tensor) -> Tensor:
        """All points' features (M, grid_points * c, h, w) to logits (M, grid_points, 4 * h, 4 * w)."""
        return self.deconv2(F.relu(self.norm1(self.deconv1(x))))

    def sub_regions(self) -> list[tuple[int, int]]:
        """Where each point's heatmap begins, (x, y) in cells of the doubled region."""
        size, half = self.whole_map_size, self.whole_map_size // 4 * 2
        starts = [max(int((i / (self.grid_size - 1) - 0.25) * size), 0) for i in range(self.grid_size)]
        starts[-1] = half
        return [(x, y) for x in starts for y in starts]

    def boxes(self, boxes: Tensor, logits: Tensor) -> Tensor:
        """Boxes (K, 4) xyxy from boxes (K, 4) and heatmap logits (K, grid_points, h, w).

        Each side is the mean, weighted by score, of the points of its grid line. Boxes may leave the image, as those
        of the reference do.
        """
        width = logits.shape[-1]
        scores, cell = logits.sigmoid().flatten(2).max(dim=2)
        start = torch.tensor(self.sub_regions(), device=boxes.device)
        cells = torch.stack([cell % width, cell // width], dim=-1) + start
        low, extent = boxes[:, None, :2], boxes[:, None, 2:] - boxes[:, None, :2]
        points = (cells + 0.5) / width * extent + low - extent / 2
        x, y, weight = (t.view(len(boxes), self.grid_size, self.grid_size) for t in (*points.unbind(-1), scores))
        lines = ((x, 1, 0), (y, 2, 0), (x, 1, -1), (y, 2, -1))
        sides = [(position.select(dim, i), weight.select(dim, i)) for position, dim, i in lines]
        return torch.stack([(p * w).sum(dim=1) / w.sum(dim=1) for p, w in sides], dim=1)


def grid_neighbors(size: int) -> list[list[int]]:
    """The points left, above, below and right of each point of a grid, in that order; point (i, j) is i * size + j."""
    return [
        [a * size + b for a, b in ((i - 1, j), (i, j - 1), (i, j + 1), (i + 1, j)) if 0 <= a < size and 0 <= b < size]
        for i in range(size)
        for j in range(size)
    ]


def transitions(neighbors: list[list[int]], channels: int) -> nn.ModuleList:
    """A depthwise 5x5 and a 1x1 convolution for each point and each of its neighbors."""
    return nn.ModuleList(
        nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(channels, channels, 5, padding=2, groups=channels), nn.Conv2d(channels, channels, 1)
            )
            for _ in points
        )
        for points in neighbors
    )
