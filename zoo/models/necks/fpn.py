"""Feature pyramid network (Lin et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.memory_format import added, added_doubled


class FPN(nn.Module):
    """Top-down pathway with lateral connections; more levels come from strided convolutions or pooling.

    in_channels: of each input, finest first. start_level, end_level: which inputs take part. num_outs: levels returned.
    add_extra_convs: False pools for further levels; "on_input" (also True), "on_lateral" and "on_output" say what the
    first further convolution sees.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        relu_before_extra_convs: bool = False,
        no_norm_on_lateral: bool = False,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        upsample_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.start, self.end = (
            start_level,
            len(in_channels) if end_level in (-1, len(in_channels) - 1) else end_level + 1,
        )
        self.num_outs, self.relu_before_extra_convs = num_outs, relu_before_extra_convs
        self.extra_source = "on_input" if add_extra_convs is True else add_extra_convs
        self.upsample_cfg = dict(upsample_cfg or {"mode": "nearest"})
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "act_cfg": act_cfg, "inplace": False}
        lateral_norm = None if no_norm_on_lateral else norm_cfg
        self.lateral_convs = nn.ModuleList(
            ConvModule(c, out_channels, 1, norm_cfg=lateral_norm, **common) for c in in_channels[self.start : self.end]
        )
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, norm_cfg=norm_cfg, **common)
            for _ in self.lateral_convs
        )
        if self.extra_source:
            for i in range(num_outs - len(self.lateral_convs)):
                first = i == 0 and self.extra_source == "on_input"
                channels = in_channels[self.end - 1] if first else out_channels
                self.fpn_convs.append(
                    ConvModule(channels, out_channels, 3, stride=2, padding=1, norm_cfg=norm_cfg, **common)
                )
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier initialization, as in the paper's code."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (N, C_i, H_i, W_i), finest first, to `num_outs` maps (N, out_channels, H_i, W_i)."""
        laterals = [conv(x) for conv, x in zip(self.lateral_convs, inputs[self.start : self.end])]
        for i in range(len(laterals) - 1, 0, -1):
            laterals[i - 1] = self.merged(laterals[i - 1], laterals[i])
        outputs = self.outputs(laterals)
        return tuple(outputs + self.extra_levels(inputs, laterals, outputs))

    def outputs(self, laterals: list[Tensor]) -> list[Tensor]:
        """Maps of the levels that have inputs, finest first."""
        return [conv(x) for conv, x in zip(self.fpn_convs, laterals)]

    def merged(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """A lateral map plus the next coarser one at its resolution."""
        at_once = added_doubled(fine, coarse) if self.upsample_cfg["mode"] == "nearest" else None
        return added(fine, self.upsample(coarse, fine)) if at_once is None else at_once

    def upsample(self, x: Tensor, like: Tensor) -> Tensor:
        """`x` at the resolution of `like`."""
        if "scale_factor" in self.upsample_cfg:
            return F.interpolate(x, **self.upsample_cfg)
        return F.interpolate(x, size=like.shape[2:], **self.upsample_cfg)

    def extra_levels(self, inputs: Sequence[Tensor], laterals: list[Tensor], outputs: list[Tensor]) -> list[Tensor]:
        """Levels coarser than the inputs."""
        if not self.extra_source:
            pooled = [outputs[-1]]
            for _ in range(self.num_outs - len(outputs)):
                pooled.append(F.max_pool2d(pooled[-1], 1, stride=2))
            return pooled[1:]
        sources = {"on_input": inputs[self.end - 1], "on_lateral": laterals[-1], "on_output": outputs[-1]}
        x, levels = sources[self.extra_source], []
        for i, conv in enumerate(self.fpn_convs[len(laterals) :]):
            x = conv(F.relu(x) if self.relu_before_extra_convs and i > 0 else x)
            levels.append(x)
        return levels
