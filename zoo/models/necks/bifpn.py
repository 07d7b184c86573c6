"""BiFPN: a pyramid that is crossed in both directions, with learned weights (Tan et al., EfficientDet, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.separable import BN, DownChannel, SamePaddingPool, SeparableConv


class BiFPNStage(nn.Module):
    """Once down and up the levels 3 to 7; what meets is added with positive weights that sum up to about 1.

    State: `p{level}_w1` (top-down) and `p{level}_w2` (bottom-up), `conv{level}_up`, `conv{level}_down`.
    """

    def __init__(self, channels: int, norm_cfg: Mapping[str, Any] | None, activate_last: bool, epsilon: float) -> None:
        super().__init__()
        self.activate_last, self.epsilon = activate_last, epsilon
        for level in (6, 5, 4, 3):
            self.add_module(f"conv{level}_up", SeparableConv(channels, channels, norm_cfg, activate_last))
            self.register_parameter(f"p{level}_w1", nn.Parameter(torch.ones(2)))
        for level in (4, 5, 6, 7):
            self.add_module(f"conv{level}_down", SeparableConv(channels, channels, norm_cfg, activate_last))
            self.register_parameter(f"p{level}_w2", nn.Parameter(torch.ones(2 if level == 7 else 3)))
        self.pool = SamePaddingPool()

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Levels 3 to 7, (N, C, H_i, W_i), to the same."""
        return self.cross(inputs, inputs)

    def cross(self, down: Sequence[Tensor], up: Sequence[Tensor]) -> list[Tensor]:
        """The new levels; down, up: what takes part in each direction, levels 3 to 7."""
        middle = {7: down[4]}
        for level in (6, 5, 4, 3):
            above = F.interpolate(middle[level + 1], scale_factor=2.0, mode="nearest")
            middle[level] = self.fuse(level, "up", getattr(self, f"p{level}_w1"), [down[level - 3], above])
        outputs = [middle[3]]
        for level in (4, 5, 6, 7):
            between = [middle[level]] if level < 7 else []
            parts = [up[level - 3], *between, self.pool(outputs[-1])]
            outputs.append(self.fuse(level, "down", getattr(self, f"p{level}_w2"), parts))
        return outputs

    def fuse(self, level: int, direction: str, weights: Tensor, parts: Sequence[Tensor]) -> Tensor:
        """The weighted sum of maps, through the level's convolution."""
        weights = F.relu(weights)
        weights = weights / (weights.sum() + self.epsilon)
        total = sum(weight * part for weight, part in zip(weights, parts))
        conv = getattr(self, f"conv{level}_{direction}")
        return conv(total if self.activate_last else F.silu(total))  # type: ignore[arg-type]


class FirstBiFPNStage(BiFPNStage):
    """The stage that brings the backbone's three levels to `channels`, for each direction on its own, and adds two."""

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        norm_cfg: Mapping[str, Any] | None,
        activate_last: bool,
        epsilon: float,
    ) -> None:
        super().__init__(channels, norm_cfg, activate_last, epsilon)

        def narrow(level: int) -> DownChannel:
            return DownChannel(in_channels[level - 6], channels, norm_cfg, activate_last)

        self.p5_down_channel, self.p4_down_channel, self.p3_down_channel = (narrow(level) for level in (5, 4, 3))
        self.p5_to_p6 = nn.Sequential(narrow(5), SamePaddingPool())
        self.p4_level_connection, self.p5_level_connection = narrow(4), narrow(5)

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Levels 3 to 5 of the backbone to levels 3 to 7."""
        p3, p4, p5 = inputs
        p6 = self.p5_to_p6(p5)
        ends = [p6, self.pool(p6)]
        down = [self.p3_down_channel(p3), self.p4_down_channel(p4), self.p5_down_channel(p5), *ends]
        return self.cross(down, [down[0], self.p4_level_connection(p4), self.p5_level_connection(p5), *ends])


class BiFPN(nn.Module):
    """`num_stages` stages. The finest level must have 16 times as many cells as the coarsest, across and down.

    apply_bn_for_resampling: normalization behind every convolution. conv_bn_act_pattern: the activation stands behind
    it, else in front of the convolution.
    """

    def __init__(
        self,
        num_stages: int,
        in_channels: Sequence[int],
        out_channels: int,
        start_level: int = 0,
        epsilon: float = 1e-4,
        apply_bn_for_resampling: bool = True,
        conv_bn_act_pattern: bool = False,
        norm_cfg: Mapping[str, Any] = BN,
    ) -> None:
        super().__init__()
        self.start_level = start_level
        options: Any = (norm_cfg if apply_bn_for_resampling else None, conv_bn_act_pattern, epsilon)
        first = FirstBiFPNStage(in_channels, out_channels, *options)
        self.bifpn = nn.Sequential(first, *(BiFPNStage(out_channels, *options) for _ in range(num_stages - 1)))

    def forward(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Backbone maps (N, C_i, H_i, W_i), finest first, to five levels (N, out_channels, H_i, W_i)."""
        return self.bifpn(inputs[self.start_level :])
