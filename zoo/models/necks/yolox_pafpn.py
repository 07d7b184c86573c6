"""Path aggregation networks (Liu et al., 2018) of cross stage partial layers: YOLOX's and RTMDet's necks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule, DepthwiseSeparableConv
from zoo.models.layers.csp import SWISH, YOLOX_BN, CSPLayer, CSPNeXtBlock


class YOLOXPAFPN(nn.Module):
    """Top-down, then bottom-up aggregation, then a convolution per level to `out_channels` (Ge et al., YOLOX, 2021)."""

    out_kernel = 1

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_csp_blocks: int = 3,
        use_depthwise: bool = False,
        upsample_cfg: Mapping[str, Any] | None = None,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = YOLOX_BN,
        act_cfg: Mapping[str, Any] = SWISH,
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        conv = DepthwiseSeparableConv if use_depthwise else ConvModule
        self.upsample = nn.Upsample(**(upsample_cfg or {"scale_factor": 2, "mode": "nearest"}))
        pairs = list(pairwise(in_channels))  # (finer, coarser)
        self.reduce_layers = nn.ModuleList(ConvModule(c, f, 1, **common) for f, c in reversed(pairs))
        self.top_down_blocks = nn.ModuleList(
            self.layer(f * 2, f, num_csp_blocks, use_depthwise, **common) for f, _ in reversed(pairs)
        )
        self.downsamples = nn.ModuleList(conv(f, f, 3, stride=2, padding=1, **common) for f, _ in pairs)
        self.bottom_up_blocks = nn.ModuleList(
            self.layer(f * 2, c, num_csp_blocks, use_depthwise, **common) for f, c in pairs
        )
        size = self.out_kernel
        self.out_convs = nn.ModuleList(
            ConvModule(c, out_channels, size, padding=size // 2, **common) for c in in_channels
        )

    def layer(self, before: int, after: int, depth: int, use_depthwise: bool, **common: Any) -> CSPLayer:
        """What joins two maps of `before` channels together into one of `after`."""
        return CSPLayer(before, after, depth, False, use_depthwise, **common)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (N, C_i, H_i, W_i), finest first, to as many maps (N, out_channels, H_i, W_i)."""
        reduced, x = [], inputs[-1]
        for finer, reduce, block in zip(reversed(inputs[:-1]), self.reduce_layers, self.top_down_blocks):
            reduced.append(reduce(x))
            x = block(torch.cat([self.upsample(reduced[-1]), finer], dim=1))
        outputs = [x]
        for coarser, down, block in zip(reversed(reduced), self.downsamples, self.bottom_up_blocks):
            outputs.append(block(torch.cat([down(outputs[-1]), coarser], dim=1)))
        return tuple(conv(y) for conv, y in zip(self.out_convs, outputs))


class CSPNeXtPAFPN(YOLOXPAFPN):
    """The same of layers with large kernels, and 3x3 convolutions at the end (Lyu et al., RTMDet, 2022)."""

    out_kernel = 3

    def __init__(self, in_channels: Sequence[int], out_channels: int, expand_ratio: float = 0.5, **kwargs: Any) -> None:
        self.expand_ratio = expand_ratio
        super().__init__(in_channels, out_channels, **kwargs)

    def layer(self, before: int, after: int, depth: int, use_depthwise: bool, **common: Any) -> CSPLayer:
        """What joins two maps; depthwise or not, as in the reference, only the downsampling differs."""
        return CSPLayer(
            before, after, depth, False, False, expand_ratio=self.expand_ratio, block=CSPNeXtBlock, **common
        )
