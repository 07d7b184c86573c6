"""Feature pyramid network with upsampling layers of its own (Wang et al., CARAFE, 2019, section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.carafe import CARAFEPack
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.upsample import make_upsample

CARAFE = {"type": "carafe", "up_kernel": 5, "up_group": 1, "encoder_kernel": 3, "encoder_dilation": 1}
ORDER = ("conv", "norm", "act")


class FPN_CARAFE(nn.Module):
    """Top-down pathway from the coarsest of all levels, also of those made by strided convolutions.

    in_channels: of each input, finest first. start_level, end_level: which inputs take part. num_outs: levels returned.
    upsample_cfg: the layer that doubles the resolution, one per step.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        num_outs: int,
        start_level: int = 0,
        end_level: int = -1,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = None,
        order: Sequence[str] = ORDER,
        upsample_cfg: Mapping[str, Any] = CARAFE,
    ) -> None:
        super().__init__()
        end = len(in_channels) if end_level in (-1, len(in_channels) - 1) else end_level + 1
        self.start_level, self.num_laterals = start_level, end - start_level
        common: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg, "order": order, "inplace": False}
        self.lateral_convs = nn.ModuleList(
            ConvModule(c, out_channels, 1, **common) for c in in_channels[start_level:end]
        )
        for i in range(num_outs - self.num_laterals):
            channels = in_channels[end - 1] if i == 0 else out_channels
            self.lateral_convs.append(ConvModule(channels, out_channels, 3, stride=2, padding=1, **common))
        self.fpn_convs = nn.ModuleList(
            ConvModule(out_channels, out_channels, 3, padding=1, **common) for _ in range(num_outs)
        )
        upsampling = {**upsample_cfg, "scale_factor": 2}
        self.upsample_modules = nn.ModuleList(
            make_upsample(upsampling, out_channels, out_channels) for _ in range(num_outs - 1)
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier initialization; CARAFE has its own."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
                nn.init.xavier_uniform_(module.weight)
        for module in self.modules():
            if isinstance(module, CARAFEPack):
                module.init_weights()

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Backbone maps (N, C_i, H_i, W_i), finest first, to `num_outs` maps (N, out_channels, H_i, W_i)."""
        sources = list(inputs[self.start_level : self.start_level + self.num_laterals])
        levels = [conv(x) for conv, x in zip(self.lateral_convs, sources)]
        for i, conv in enumerate(self.lateral_convs[self.num_laterals :]):
            levels.append(conv(sources[-1] if i == 0 else levels[-1]))
        for i in range(len(levels) - 1, 0, -1):
            finer = self.upsample_modules[i - 1](levels[i])
            height, width = levels[i - 1].shape[2:]
            levels[i - 1] = levels[i - 1] + finer[:, :, :height, :width]
        return tuple(conv(x) for conv, x in zip(self.fpn_convs, levels))
