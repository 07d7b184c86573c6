"""The pyramid that NAS-FCOS's search found (Wang et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.merge_cells import MergeCell

BN = {"type": "BN"}
KEEP = {"type": "ReLU", "inplace": False}
# Cells in order: name, and which of the two inputs are convolved. The digits of a name are the maps that are merged:
# 0 to 2 are the adapted inputs, and every cell adds a map to that list.
CELLS = {
    "c22_1": (True, True),
    "c22_2": (True, True),
    "c32": (True, False),
    "c02": (True, False),
    "c42": (True, True),
    "c36": (True, True),
    "c61": (True, True),
}


class NASFCOS_FPN(nn.Module):
    """Three adapted levels, merged by the searched cells; coarser levels come from strided convolutions."""

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 1,
        end_level: int = -1,
        add_extra_convs: bool = False,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        last = len(in_channels) if end_level in (-1, len(in_channels) - 1) else end_level + 1
        self.levels, self.add_extra_convs = slice(start_level, last), add_extra_convs
        self.adapt_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, bias=False, norm_cfg=BN, act_cfg=KEEP)
            for channels in in_channels[self.levels]
        )
        options: dict[str, Any] = {
            "out_conv": {"kernel_size": 1, "bias": False, "groups": out_channels},
            "out_norm_cfg": BN,
            "out_conv_order": ("norm", "act", "conv"),
            "input_conv_cfg": conv_cfg,
            "input_norm_cfg": norm_cfg,
        }
        self.fpn = nn.ModuleDict(
            {name: MergeCell(out_channels, "concat", input_convs=inputs, **options) for name, inputs in CELLS.items()}
        )
        self.extra_downsamples = nn.ModuleList(
            ConvModule(
                out_channels,
                out_channels,
                3,
                stride=2,
                padding=1,
                act_cfg=None if i == 0 else KEEP,
                order=("act", "norm", "conv"),
            )
            for i in range(num_outs - len(self.adapt_convs))
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (N, C_i, H_i, W_i), finest first, to `num_outs` maps (N, out_channels, H_i, W_i)."""
        maps = [conv(x) for conv, x in zip(self.adapt_convs, inputs[self.levels])]
        for name, cell in self.fpn.items():
            maps.append(cell(maps[int(name[1])], maps[int(name[2])]))
        outputs = []
        for x, like in zip((maps[9], maps[8], maps[7]), inputs[1:4]):
            outputs.append(bilinear(x + bilinear(maps[5], x), like))
        for downsample in self.extra_downsamples:
            outputs.append(downsample(outputs[-1]))
        return tuple(outputs)


def bilinear(x: Tensor, like: Tensor) -> Tensor:
    """`x` at the size of `like`."""
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
