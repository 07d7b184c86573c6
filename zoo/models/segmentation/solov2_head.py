"""SOLOv2: a cell predicts the kernel that makes its mask (Wang et al., SOLOv2, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.dense_heads.towers import init_dense, run, tower
from zoo.models.layers.conv_module import ConvModule
from zoo.models.segmentation.solo_head import GN, GridHead, neighbors, resize, with_coordinates


class MaskFeatModule(nn.Module):
    """One map of mask features from several levels, each upsampled step by step; the coarsest one knows coordinates.

    start_level, end_level: which levels take part. mask_stride: input pixels per cell of the result.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        start_level: int,
        end_level: int,
        out_channels: int,
        mask_stride: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.start_level, self.end_level, self.mask_stride = start_level, end_level, mask_stride
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self.convs_all_levels = nn.ModuleList()
        for level in range(start_level, end_level + 1):
            path = nn.Sequential()
            channels = in_channels + 2 if level == end_level > 0 else in_channels
            for step in range(max(level, 1)):
                path.add_module(f"conv{step}", ConvModule(channels, feat_channels, 3, padding=1, **common))
                if level > 0:
                    path.add_module(f"upsample{step}", nn.Upsample(scale_factor=2, mode="bilinear"))
                channels = feat_channels
            self.convs_all_levels.append(path)
        self.conv_pred = ConvModule(feat_channels, out_channels, 1, **common)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Per level (N, C, h, w), finest first, to (N, out_channels, H / mask_stride, W / mask_stride)."""
        levels = list(features[self.start_level : self.end_level + 1])
        if len(levels) > 1:
            levels[-1] = with_coordinates(levels[-1])
        total = self.convs_all_levels[0](levels[0])
        for path, x in zip(self.convs_all_levels[1:], levels[1:]):
            total = total + path(x)
        return self.conv_pred(total)


class SOLOV2Head(GridHead):
    """Class and mask kernel per cell, and one map of mask features that all kernels are applied to.

    dynamic_conv_size: side of the kernels. dcn_cfg: type of the towers' convolutions, of all of them or (without
    dcn_apply_to_all_conv) of the last one.
    """

    def __init__(
        self,
        in_channels: int,
        mask_feature_head: Mapping[str, Any],
        stacked_convs: int = 4,
        norm_cfg: Mapping[str, Any] | None = GN,
        dynamic_conv_size: int = 1,
        dcn_cfg: Mapping[str, Any] | None = None,
        dcn_apply_to_all_conv: bool = True,
        **kwargs: Any,
    ) -> None:
        first = 0 if dcn_apply_to_all_conv else stacked_convs - 1
        dcn = {i: dcn_cfg for i in range(first, stacked_convs)} if dcn_cfg else None
        common: dict[str, Any] = {"stacked_convs": stacked_convs, "norm_cfg": norm_cfg}
        super().__init__(in_channels=in_channels, dcn=dcn, **common, **kwargs)
        self.kernel_convs = tower(in_channels + 2, self.feat_channels, stacked_convs, norm_cfg, special=dcn)
        self.dynamic_conv_size = dynamic_conv_size
        kernel_channels = mask_feature_head["out_channels"] * dynamic_conv_size**2
        self.conv_kernel = nn.Conv2d(self.feat_channels, kernel_channels, 3, padding=1)
        self.mask_feature_head = MaskFeatModule(**{**mask_feature_head, "in_channels": in_channels})
        init_dense(self, self.conv_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[tuple[list[Tensor], Tensor], list[Tensor]]:
        """Mask kernels per level and mask features, and class logits per level.

        features: per level (N, C, h, w), finest first. Kernels are (N, D, grid, grid), mask features (N, C', H, W),
        class logits (N, num_classes, grid, grid).
        """
        mask_features = self.mask_feature_head(features)
        kernels, logits = [], []
        for x, grid in zip(neighbors(features), self.num_grids):
            kernels.append(self.conv_kernel(run(self.kernel_convs, resize(with_coordinates(x), (grid, grid)))))
            logits.append(self.classify(x, grid))
        return (kernels, mask_features), logits

    def masks(self, outputs: Any, image: int, cells: Tensor) -> Tensor:
        """See `GridHead.masks`."""
        kernels, features = outputs[0]
        chosen = torch.cat([x[image].flatten(1).T for x in kernels])[cells]
        side = self.dynamic_conv_size
        return F.conv2d(features[image : image + 1], chosen.unflatten(1, (-1, side, side)))[0].sigmoid()
