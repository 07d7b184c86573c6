"""Path aggregation network's pyramid (Liu et al., PANet, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.necks.fpn import FPN


class PAFPN(FPN):
    """A feature pyramid with a second, bottom-up pathway. The arguments are those of `FPN`."""

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        super().__init__(in_channels, out_channels, num_outs, **common, **kwargs)
        common.update(padding=1, inplace=False)
        steps = range(len(self.lateral_convs) - 1)
        self.downsample_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, 2, **common) for _ in steps)
        self.pafpn_convs = nn.ModuleList(ConvModule(out_channels, out_channels, 3, **common) for _ in steps)
        self.init_weights()

    def outputs(self, laterals: list[Tensor]) -> list[Tensor]:
        """Maps of the levels that have inputs, finest first."""
        maps = super().outputs(laterals)
        for i, downsample in enumerate(self.downsample_convs):
            maps[i + 1] = maps[i + 1] + downsample(maps[i])
        return [maps[0]] + [conv(x) for conv, x in zip(self.pafpn_convs, maps[1:])]
