"""CSPDarknet, the backbone of YOLOX (Ge et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule, DepthwiseSeparableConv
from zoo.models.layers.csp import SWISH, YOLOX_BN, CSPLayer
from zoo.models.layers.freezing import freeze, keep_statistics

# Per stage: input channels, output channels, blocks, shortcuts, spatial pyramid pooling.
ARCHITECTURES = {
    "P5": (
        (64, 128, 3, True, False),
        (128, 256, 9, True, False),
        (256, 512, 9, True, False),
        (512, 1024, 3, False, True),
    ),
    "P6": (
        (64, 128, 3, True, False),
        (128, 256, 9, True, False),
        (256, 512, 9, True, False),
        (512, 768, 3, True, False),
        (768, 1024, 3, False, True),
    ),
}


class Focus(nn.Module):
    """Every 2x2 patch becomes one pixel with four times the channels, then a convolution."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = ConvModule(in_channels * 4, out_channels, kernel_size, padding=(kernel_size - 1) // 2, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (N, out_channels, H / 2, W / 2)."""
        patches = [x[..., ::2, ::2], x[..., 1::2, ::2], x[..., ::2, 1::2], x[..., 1::2, 1::2]]
        return self.conv(torch.cat(patches, dim=1))


class SPPBottleneck(nn.Module):
    """Max pooling with several windows side by side (He et al., 2014, as in YOLOv3-SPP)."""

    def __init__(self, channels: int, kernel_sizes: Sequence[int], **kwargs: Any) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels // 2, 1, **kwargs)
        self.poolings = nn.ModuleList(nn.MaxPool2d(k, stride=1, padding=k // 2) for k in kernel_sizes)
        self.widenings = widenings(kernel_sizes)
        self.conv2 = ConvModule(channels // 2 * (len(kernel_sizes) + 1), channels, 1, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *self.pooled(x)], dim=1))

    def pooled(self, x: Tensor) -> list[Tensor]:
        """The maxima of each window.

        In inference each window takes them from the maxima of the last one, which has fewer cells to compare. In
        training it does not: of equal cells another one would get the gradient.
        """
        if torch.is_grad_enabled() or not self.widenings:
            return [pool(x) for pool in self.poolings]
        maps = [x]
        for size in self.widenings:
            maps.append(F.max_pool2d(maps[-1], size, stride=1, padding=size // 2))
        return maps[1:]


def widenings(kernel_sizes: Sequence[int]) -> list[int]:
    """The windows that make each window out of the one before it; none unless all are odd and each is larger.

    The largest of 5 x 5 maxima over 5 x 5 cells is the largest of 9 x 9 cells.
    """
    sizes = [1, *kernel_sizes]
    rising = all(size % 2 and size > last for last, size in pairwise(sizes))
    return [size - last + 1 for last, size in pairwise(sizes)] if rising else []


class CSPStages(nn.Module):
    """Base: the modules in `layer_names`, a stem and stages, one after the other.

    out_indices: whose outputs are returned (0 is the stem's). frozen_stages: so many stages, and the stem from 0 on,
    are not trained. norm_eval: whether batch norm keeps its statistics in training.
    """

    def __init__(self, out_indices: Sequence[int], frozen_stages: int, norm_eval: bool) -> None:
        super().__init__()
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        self.layer_names = ["stem"]

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to feature maps, finest first."""
        outputs = []
        for i, name in enumerate(self.layer_names):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> CSPStages:
        """Training mode, but frozen stages stay frozen and batch norm keeps its statistics where asked."""
        super().train(mode)
        freeze(getattr(self, name) for name in self.layer_names[: self.frozen_stages + 1])
        if self.norm_eval:
            keep_statistics(self)
        return self


class CSPDarknet(CSPStages):
    """A stem and four or five stages; returns the outputs in `out_indices` (0 is the stem), finest first."""

    def __init__(
        self,
        arch: str = "P5",
        deepen_factor: float = 1.0,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (2, 3, 4),
        frozen_stages: int = -1,
        use_depthwise: bool = False,
        spp_kernal_sizes: Sequence[int] = (5, 9, 13),  # spelled as configurations spell it
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = YOLOX_BN,
        act_cfg: Mapping[str, Any] = SWISH,
        norm_eval: bool = False,
    ) -> None:
        super().__init__(out_indices, frozen_stages, norm_eval)
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        conv = DepthwiseSeparableConv if use_depthwise else ConvModule
        settings = ARCHITECTURES[arch]
        self.stem = Focus(3, int(settings[0][0] * widen_factor), 3, **common)
        for i, (before, after, blocks, shortcut, spp) in enumerate(settings, start=1):
            before, after = int(before * widen_factor), int(after * widen_factor)
            depth = max(round(blocks * deepen_factor), 1)
            stage: list[nn.Module] = [conv(before, after, 3, stride=2, padding=1, **common)]
            if spp:
                stage.append(SPPBottleneck(after, spp_kernal_sizes, **common))
            stage.append(CSPLayer(after, after, depth, shortcut, use_depthwise, **common))
            self.add_module(f"stage{i}", nn.Sequential(*stage))
            self.layer_names.append(f"stage{i}")
