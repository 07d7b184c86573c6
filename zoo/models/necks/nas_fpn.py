"""NAS-FPN: the pyramid that an architecture search found (Ghiasi et al., 2019, figure 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.merge_cells import MergeCell


class NASFPN(nn.Module):
    """Five levels, merged by the same searched graph `stack_times` over.

    in_channels: of each input, finest first. start_level, end_level: which inputs take part; levels above come from
    pooling.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        stack_times: int,
        start_level: int = 0,
        end_level: int = -1,
        add_extra_convs: bool | str = False,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        last = len(in_channels) if end_level in (-1, len(in_channels) - 1) else end_level + 1
        self.levels, self.add_extra_convs = slice(start_level, last), add_extra_convs
        self.lateral_convs = nn.ModuleList(
            ConvModule(channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None)
            for channels in in_channels[self.levels]
        )
        self.extra_downsamples = nn.ModuleList(
            nn.Sequential(
                ConvModule(out_channels, out_channels, 1, norm_cfg=norm_cfg, act_cfg=None), nn.MaxPool2d(2, 2)
            )
            for _ in range(num_outs - len(self.lateral_convs))
        )
        self.fpn_stages = nn.ModuleList(searched_stage(out_channels, norm_cfg) for _ in range(stack_times))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (N, C_i, H_i, W_i), finest first, to five maps (N, out_channels, H_i, W_i)."""
        levels = [conv(x) for conv, x in zip(self.lateral_convs, inputs[self.levels])]
        for downsample in self.extra_downsamples:
            levels.append(downsample(levels[-1]))
        for stage in self.fpn_stages:
            levels = run_stage(stage, *levels)
        return tuple(levels)


def searched_stage(channels: int, norm_cfg: Mapping[str, Any] | None) -> nn.ModuleDict:
    """The cells of one pass; a name says operation, the two levels merged, and the level it makes."""

    def cell(operation: str) -> MergeCell:
        return MergeCell(channels, operation, out_norm_cfg=norm_cfg)

    def bare() -> MergeCell:
        return MergeCell(channels, "global_pool", out_conv=None)

    return nn.ModuleDict(
        {
            "gp_64_4": cell("global_pool"),
            "sum_44_4": cell("sum"),
            "sum_43_3": cell("sum"),
            "sum_34_4": cell("sum"),
            "gp_43_5": bare(),
            "sum_55_5": cell("sum"),
            "gp_54_7": bare(),
            "sum_77_7": cell("sum"),
            "gp_75_6": cell("global_pool"),
        }
    )


def run_stage(stage: Any, p3: Tensor, p4: Tensor, p5: Tensor, p6: Tensor, p7: Tensor) -> list[Tensor]:
    """One pass over the five levels."""
    size3, size4, size5, size6, size7 = (x.shape[2:] for x in (p3, p4, p5, p6, p7))
    middle = stage["sum_44_4"](stage["gp_64_4"](p6, p4, size4), p4, size4)
    p3 = stage["sum_43_3"](middle, p3, size3)
    p4 = stage["sum_34_4"](p3, middle, size4)
    p5 = stage["sum_55_5"](p5, stage["gp_43_5"](p4, p3, size5), size5)
    p7 = stage["sum_77_7"](p7, stage["gp_54_7"](p5, middle, size7), size7)
    p6 = stage["gp_75_6"](p7, p5, size6)
    return [p3, p4, p5, p6, p7]
