"""Convolutions in a row, plain or as residual blocks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv import make_conv
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.norm import make_norm


class SimplifiedBasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, no ReLU at the end, normalization optional (Vu et al., SCNet, 2020)."""

    def __init__(self, channels: int, conv_cfg: Any = None, norm_cfg: Any = None) -> None:
        super().__init__()
        self.norm_names: list[str] = []
        self.conv1 = make_conv(conv_cfg, channels, channels, 3, padding=1, bias=norm_cfg is None)
        self.conv2 = make_conv(conv_cfg, channels, channels, 3, padding=1, bias=norm_cfg is None)
        if norm_cfg is not None:
            for i in (1, 2):
                name, norm = make_norm(norm_cfg, channels, i)
                self.add_module(name, norm)
                self.norm_names.append(name)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        out = self.relu(self.normalize(0, self.conv1(x)))
        return self.normalize(1, self.conv2(out)) + x

    def normalize(self, i: int, x: Tensor) -> Tensor:
        """`x` through the normalization of convolution `i`, where there is one."""
        return getattr(self, self.norm_names[i])(x) if self.norm_names else x


def conv_stack(
    depth: int, in_channels: int, channels: int, kernel_size: int = 3, residual: bool = False, **kwargs: Any
) -> nn.ModuleList:
    """`depth` convolutions that keep the resolution, or `depth // 2` residual blocks of two 3x3 convolutions.

    Further arguments are those of `ConvModule`; residual blocks know `conv_cfg` and `norm_cfg` and keep the channels.
    """
    if residual:
        return nn.ModuleList(SimplifiedBasicBlock(channels, **kwargs) for _ in range(depth // 2))
    return nn.ModuleList(
        ConvModule(in_channels if i == 0 else channels, channels, kernel_size, padding=(kernel_size - 1) // 2, **kwargs)
        for i in range(depth)
    )


def run(layers: Iterable[nn.Module], x: Tensor) -> Tensor:
    """`x` through `layers`, one after the other."""
    for layer in layers:
        x = layer(x)
    return x
