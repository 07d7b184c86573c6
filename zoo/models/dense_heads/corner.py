"""CornerNet's head (Law and Deng, Detecting Objects as Paired Keypoints, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.corner_groups import Corners, group_corners
from zoo.models.dense_heads.heatmaps import Peaks, find_peaks
from zoo.models.dense_heads.towers import prior_bias
from zoo.models.layers.constants import constant
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.corner_pool import BiCornerPool
from zoo.models.layers.nms import suppress
from zoo.structures import Detections, ImageGeometry

# Short name in checkpoints -> the directions that the corner's pooling looks along.
CORNERS = {"tl": ("top", "left"), "br": ("bottom", "right")}
Maps = dict[str, Tensor]
HEATMAP = {"type": "GaussianFocalLoss"}
TAGS = {"type": "AssociativeEmbeddingLoss", "pull_weight": 0.25, "push_weight": 0.25}
SHIFT = {"type": "SmoothL1Loss"}


class CornerHead(nn.Module):
    """Heatmaps of top left and bottom right corners, their offsets within a cell, and tags that are equal in a pair.

    num_feat_levels: stacks of the backbone, each with predictors of its own; the last one's detect.
    corner_emb_channels: numbers per tag, 0 for no tags.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_feat_levels: int = 2,
        corner_emb_channels: int = 1,
        loss_heatmap: Mapping[str, Any] = HEATMAP,
        loss_embedding: Mapping[str, Any] = TAGS,
        loss_offset: Mapping[str, Any] = SHIFT,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.in_channels, self.num_feat_levels = num_classes, in_channels, num_feat_levels
        self.loss_cfg = {"heatmap": loss_heatmap, "embedding": loss_embedding, "offset": loss_offset}
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        self.outputs = {"heat": num_classes, "off": 2}
        if corner_emb_channels:
            self.outputs["emb"] = corner_emb_channels
        for corner, directions in CORNERS.items():
            pools = (
                BiCornerPool(in_channels, directions, out_channels=in_channels) for _ in range(self.num_feat_levels)
            )
            self.add_module(f"{corner}_pool", nn.ModuleList(pools))
            for kind, channels in self.outputs.items():
                self.add_branches(f"{corner}_{kind}", channels)
            for layers in getattr(self, f"{corner}_heat"):
                nn.init.constant_(layers[-1].conv.bias, prior_bias(0.1))

    def add_branches(self, name: str, out_channels: int) -> None:
        """A 3x3 convolution and a predictor for every level."""
        channels = self.in_channels
        self.add_module(
            name,
            nn.ModuleList(
                nn.Sequential(ConvModule(channels, 256, 3, padding=1), ConvModule(256, out_channels, 1, act_cfg=None))
                for _ in range(self.num_feat_levels)
            ),
        )

    def forward(self, features: Sequence[Tensor]) -> list[dict[str, Maps]]:
        """Per level (in training; else of the last only) and corner ("tl", "br") the maps by kind, each (N, ., H, W).

        "heat": class logits. "off": x and y within the cell. "emb": tags.
        """
        levels = range(self.num_feat_levels) if self.training else [self.num_feat_levels - 1]
        return [{corner: self.forward_corner(features[i], corner, i) for corner in CORNERS} for i in levels]

    def forward_corner(self, x: Tensor, corner: str, level: int) -> Maps:
        """One corner's maps of one level."""
        pooled = self.run_branch(f"{corner}_pool", level, x)
        return {kind: self.run_branch(f"{corner}_{kind}", level, pooled) for kind in self.outputs}

    def run_branch(self, name: str, level: int, x: Tensor) -> Tensor:
        """`x` through one level's layers of a branch."""
        return getattr(self, name)[level](x)

    def predict(
        self, outputs: Sequence[dict[str, Maps]], geometries: Sequence[ImageGeometry], input_size: tuple[int, int]
    ) -> list[Detections]:
        """Detections in input coordinates. input_size: (h, w) of the padded batch."""
        return [self.suppress(result) for result in self.pairs(outputs, geometries, input_size)]

    def pairs(
        self, outputs: Sequence[dict[str, Maps]], geometries: Sequence[ImageGeometry], input_size: tuple[int, int]
    ) -> list[Detections]:
        """All pairs of corners of each image, before suppression."""
        heat = outputs[-1]["tl"]["heat"]
        pixels = constant((input_size[1] / heat.shape[3], input_size[0] / heat.shape[2]), heat)
        detections = []
        for i, geometry in enumerate(geometries):
            maps = {corner: {kind: x[i] for kind, x in outputs[-1][corner].items()} for corner in CORNERS}
            first, second = (self.corners(maps[corner], corner, pixels, geometry) for corner in CORNERS)
            detections.append(group_corners(first, second, self.test_cfg["distance_threshold"]))
        return detections

    def corners(self, maps: Maps, corner: str, pixels: Tensor, geometry: ImageGeometry) -> Corners:
        """One image's best corners of one kind. maps: each (., H, W). pixels: (2,) per cell, x and y."""
        peaks = find_peaks(maps["heat"].sigmoid(), self.test_cfg["corner_topk"], self.test_cfg["local_maximum_kernel"])
        cells = torch.stack([peaks.x, peaks.y], dim=1) + peaks.read(maps["off"])
        # Nothing lies left of or above the image, which may itself lie inside the input.
        least = constant(tuple(geometry.offset), cells)
        result = Corners(peaks.scores, peaks.labels, torch.maximum(cells * pixels, least))
        self.add_hints(result, maps, corner, peaks, cells)
        if result.centers is not None:
            result.centers = torch.maximum(result.centers * pixels, least)
        return result

    def add_hints(self, result: Corners, maps: Maps, corner: str, peaks: Peaks, cells: Tensor) -> None:
        """By what corners are paired: their tags. cells: (K, 2), where the corners are."""
        result.tags = peaks.read(maps["emb"])[:, 0]

    def suppress(self, detections: Detections) -> Detections:
        """Suppression within classes."""
        cfg = self.test_cfg
        return suppress(detections.boxes, detections.scores, detections.labels, cfg["nms"], cfg["max_per_img"])
