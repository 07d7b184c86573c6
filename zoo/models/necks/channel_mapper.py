"""Feature maps of equal width, without a top-down pathway (Zhu et al., Deformable DETR, 2021, appendix A.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_module import RELU, ConvModule


class ChannelMapper(nn.Module):
    """One convolution per level, and strided ones for further levels, the first of them on the last input.

    in_channels: of each input, finest first. num_outs: levels returned, as many as inputs if not given.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        out_channels: int,
        kernel_size: int = 3,
        num_outs: int | None = None,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        act_cfg: Mapping[str, Any] | None = RELU,
        bias: bool | str = "auto",
    ) -> None:
        super().__init__()
        common: dict[str, Any] = {"bias": bias, "conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.convs = nn.ModuleList(
            ConvModule(c, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **common) for c in in_channels
        )
        extra = (num_outs or len(in_channels)) - len(in_channels)
        self.extra_convs = nn.ModuleList(
            ConvModule(out_channels if i else in_channels[-1], out_channels, 3, stride=2, padding=1, **common)
            for i in range(extra)
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.xavier_uniform_(module.weight)

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Maps (N, C_i, H_i, W_i), finest first, to `num_outs` maps (N, out_channels, H_i, W_i)."""
        outputs = [conv(x) for conv, x in zip(self.convs, inputs)]
        x = inputs[-1]
        for conv in self.extra_convs:
            x = conv(x)
            outputs.append(x)
        return tuple(outputs)
