"""SSD's extra levels (Liu et al., Single Shot MultiBox Detector, 2016)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.layers.conv_module import RELU, ConvModule, DepthwiseSeparableConv


class L2Norm(nn.Module):
    """Each cell's features to unit length, times a learned scale per channel (Liu et al., ParseNet, 2015)."""

    def __init__(self, channels: int, scale: float = 20.0, eps: float = 1e-10) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels,), float(scale)))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same; computed in float32."""
        precise = x.float()
        norm = precise.pow(2).sum(dim=1, keepdim=True).sqrt() + self.eps
        return (self.weight[:, None, None].float() * precise / norm).type_as(x)


class SSDNeck(nn.Module):
    """The inputs, the first one normalized, and further levels, each from the one before.

    out_channels: of all levels; the first are `in_channels`. level_strides, level_paddings, last_kernel_size: of the
    second convolution of each further level. l2_norm_scale: None leaves the normalization out. use_depthwise: second
    convolutions are separable (SSDLite).
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: Sequence[int],
        level_strides: Sequence[int],
        level_paddings: Sequence[int],
        l2_norm_scale: float | None = 20.0,
        last_kernel_size: int = 3,
        use_depthwise: bool = False,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
    ) -> None:
        super().__init__()
        if l2_norm_scale:
            self.l2_norm = L2Norm(in_channels[0], l2_norm_scale)
        self.normalize = bool(l2_norm_scale)
        options: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        second = DepthwiseSeparableConv if use_depthwise else ConvModule
        kernels = [3] * (len(level_strides) - 1) + [last_kernel_size]
        self.extra_layers = nn.ModuleList(
            nn.Sequential(
                ConvModule(before, after // 2, 1, **options),
                second(after // 2, after, kernel, stride=stride, padding=padding, **options),
            )
            for before, after, kernel, stride, padding in zip(
                out_channels[len(in_channels) - 1 :],
                out_channels[len(in_channels) :],
                kernels,
                level_strides,
                level_paddings,
            )
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (N, C_i, H_i, W_i), finest first, to all levels."""
        levels = list(inputs)
        if self.normalize:
            levels[0] = self.l2_norm(levels[0])
        for layer in self.extra_layers:
            levels.append(layer(levels[-1]))
        return tuple(levels)
