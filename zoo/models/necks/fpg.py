"""Feature pyramid grids: many pyramids side by side (Chen et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.conv_module import ConvModule

Transition = Mapping[str, Any] | None


class FPG(nn.Module):
    """`stack_times` pathways, each made from the one before; every level sees its neighbors.

    in_channels: of each input, finest first; `start_level` is the first that takes part. num_outs: levels. Further
    levels come from strided convolutions (`add_extra_convs`) or pooling. inter_channels: inside the grid.
    paths: the direction of each pathway; bottom-up ("bu") throughout, as published. skip_inds: per level, the pathways
    that leave it as it is. Transitions, each described as `{type: conv | interpolation_conv | last_conv, ...}` or None:
    same_up, from the finer level of the same pathway; across_lateral, across_up, across_down, from the same, finer and
    coarser level of the pathway before; across_skip, from the first one; output, to the results. norm_cfg: descriptions
    state it, but each transition has its own.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        stack_times: int,
        paths: Sequence[str],
        skip_inds: Sequence[Sequence[int]],
        inter_channels: int | None = None,
        same_up_trans: Transition = None,
        same_down_trans: Transition = None,
        across_lateral_trans: Transition = None,
        across_down_trans: Transition = None,
        across_up_trans: Transition = None,
        across_skip_trans: Transition = None,
        output_trans: Transition = None,
        start_level: int = 0,
        add_extra_convs: bool = False,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if set(paths) != {"bu"} or same_down_trans is not None:
            raise BuildError("FPG has bottom-up pathways only: paths of 'bu', and no same_down_trans")
        channels = inter_channels or out_channels
        self.start_level, self.num_outs, self.skip_inds = start_level, num_outs, skip_inds
        self.lateral_convs = nn.ModuleList(nn.Conv2d(c, channels, 1) for c in in_channels[start_level:])
        self.extra_downsamples = nn.ModuleList(
            nn.Conv2d(channels, channels, 3, stride=2, padding=1) if add_extra_convs else nn.MaxPool2d(1, stride=2)
            for _ in range(num_outs - len(self.lateral_convs))
        )
        kinds = {
            "same_up": same_up_trans,
            "across_lateral": across_lateral_trans,
            "across_up": across_up_trans,
            "across_down": across_down_trans,
            "across_skip": across_skip_trans,
        }
        self.fpn_transitions = nn.ModuleList(
            nn.ModuleList(self.transitions(kinds, channels, stage, level) for level in range(num_outs))
            for stage in range(stack_times)
        )
        self.output_transition = nn.ModuleList(
            make_transition(output_trans or {"type": "last_conv"}, channels, out_channels) for _ in range(num_outs)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1, mode="fan_in", nonlinearity="leaky_relu")

    def transitions(self, kinds: Mapping[str, Transition], channels: int, stage: int, level: int) -> nn.ModuleDict:
        """The transitions into one node of the grid; none where the pathway leaves the level as it is."""
        if stage in self.skip_inds[level]:
            return nn.ModuleDict()
        missing = {"same_up", "across_up"} if level == 0 else set()
        missing |= {"across_down"} if level == self.num_outs - 1 else set()
        return nn.ModuleDict(
            {k: make_transition(v, channels, channels) for k, v in kinds.items() if v is not None and k not in missing}
        )

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (N, C_i, H_i, W_i), finest first, to `num_outs` maps (N, out_channels, H_i, W_i)."""
        first = [conv(x) for conv, x in zip(self.lateral_convs, inputs[self.start_level :])]
        for downsample in self.extra_downsamples:
            first.append(downsample(first[-1]))
        levels = first
        for stage in self.fpn_transitions:
            levels = self.pathway(stage, levels, first)  # type: ignore[arg-type]
        return tuple(transition(x) for transition, x in zip(self.output_transition, levels))

    def pathway(self, stage: nn.ModuleList, before: list[Tensor], first: list[Tensor]) -> list[Tensor]:
        """The levels of a pathway from those of the one before and of the first."""
        levels: list[Tensor] = []
        for i, node in enumerate(stage):
            if not len(node):  # type: ignore[arg-type]
                levels.append(before[i])
                continue
            sources = {
                "same_up": levels[-1] if i else None,
                "across_lateral": before[i],
                "across_up": before[i - 1] if i else None,
                "across_down": before[i + 1] if i + 1 < len(before) else None,
                "across_skip": first[i],
            }
            parts = [node[kind](x) for kind, x in sources.items() if kind in node]  # type: ignore[operator,index]
            levels.append(sum(parts[1:], start=parts[0]))
        return levels


class UpInterpolationConv(nn.Module):
    """Twice the resolution, then a convolution. Further arguments are those of `ConvModule`."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        scale_factor: int = 2,
        mode: str = "nearest",
        kernel_size: int = 3,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.scale_factor, self.mode = scale_factor, mode
        self.conv = ConvModule(in_channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, scale_factor * H, scale_factor * W)."""
        return self.conv(F.interpolate(x, scale_factor=self.scale_factor, mode=self.mode))


class LastConv(nn.Module):
    """A convolution on the last pathway. Further arguments are those of `ConvModule`."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, **kwargs: Any) -> None:
        super().__init__()
        self.conv_out = ConvModule(in_channels, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W)."""
        return self.conv_out(x)


TRANSITIONS: dict[str, Any] = {"conv": ConvModule, "interpolation_conv": UpInterpolationConv, "last_conv": LastConv}


def make_transition(description: Mapping[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    """The transition `{type: ..., **arguments}`. Raises BuildError for an unknown type."""
    arguments = dict(description)
    kind = arguments.pop("type")
    if kind not in TRANSITIONS:
        raise BuildError(f"there is no transition of type '{kind}'; known: {', '.join(TRANSITIONS)}")
    layer: nn.Module = TRANSITIONS[kind](in_channels, out_channels, **arguments)
    return layer
