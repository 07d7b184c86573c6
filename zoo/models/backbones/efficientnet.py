"""EfficientNet (Tan and Le, 2019)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.freezing import freeze, keep_statistics
from zoo.models.layers.inverted_residual import InvertedResidual, make_divisible
from zoo.models.layers.squeeze_excitation import SELayer

BN = {"type": "BN", "eps": 1e-3}
SWISH = {"type": "Swish"}
SAME = {"type": "Conv2dAdaptivePadding"}
STEM_CHANNELS, LAST_CHANNELS = 32, 1280
# Layers of equal resolution; each a row of runs: kernel size, channels, blocks, stride of the first, expansion.
LAYERS = (
    ((3, 16, 1, 1, 1),),
    ((3, 24, 2, 2, 6),),
    ((5, 40, 2, 2, 6),),
    ((3, 80, 3, 2, 6), (5, 112, 3, 1, 6)),
    ((5, 192, 4, 2, 6), (3, 320, 1, 1, 6)),
)
# Name -> factors of width and depth.
SCALES = {
    "b0": (1.0, 1.0),
    "b1": (1.0, 1.1),
    "b2": (1.1, 1.2),
    "b3": (1.2, 1.4),
    "b4": (1.4, 1.8),
    "b5": (1.6, 2.2),
    "b6": (1.8, 2.6),
    "b7": (2.0, 3.1),
    "b8": (2.2, 3.6),
}
SE_RATIO = 4  # of a block's input channels to the hidden ones of squeeze and excitation


class EfficientNet(nn.Module):
    """A stem (index 0), five layers of inverted residuals and, where asked for, a last convolution (index 6).

    Returns the outputs in `out_indices`. drop_path_rate: stochastic depth of the last block, rising linearly.
    frozen_stages: so many of the layers are not trained; norm_eval: batch norm keeps its statistics in training.
    """

    def __init__(
        self,
        arch: str = "b0",
        drop_path_rate: float = 0.0,
        out_indices: Sequence[int] = (6,),
        frozen_stages: int = 0,
        conv_cfg: Mapping[str, Any] | None = SAME,
        norm_cfg: Mapping[str, Any] = BN,
        act_cfg: Mapping[str, Any] = SWISH,
        norm_eval: bool = False,
    ) -> None:
        super().__init__()
        if arch not in SCALES:
            raise BuildError(f"there is no EfficientNet '{arch}'; known: {', '.join(SCALES)}")
        width, depth = SCALES[arch]
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        before = make_divisible(STEM_CHANNELS * width)
        self.layers = nn.ModuleList([ConvModule(3, before, 3, stride=2, padding=1, **common)])
        total = sum(math.ceil(run[2] * depth) for runs in LAYERS for run in runs)
        rates = iter(torch.linspace(0, drop_path_rate, total, device="cpu").tolist())
        for runs in LAYERS[: max(self.out_indices)]:
            blocks = []
            for kernel, channels, count, stride, expansion in runs:
                channels = make_divisible(channels * width)
                for k in range(math.ceil(count * depth)):
                    block = InvertedResidual(
                        before,
                        channels,
                        before * expansion,
                        kernel,
                        stride if k == 0 else 1,
                        se=SELayer(before * expansion, before // SE_RATIO, act_cfg),
                        drop_path_rate=next(rates),
                        **common,
                    )
                    blocks.append(block)
                    before = channels
            self.layers.append(nn.Sequential(*blocks))
        if max(self.out_indices) > len(LAYERS):
            self.layers.append(ConvModule(before, make_divisible(LAST_CHANNELS * width), 1, **common))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to feature maps, finest first."""
        outputs = []
        for i, layer in enumerate(self.layers):
            x = layer(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> EfficientNet:
        """Training mode, but frozen layers stay frozen and batch norm keeps its statistics where asked."""
        super().train(mode)
        freeze(self.layers[: max(self.frozen_stages, 0)])
        if self.norm_eval:
            keep_statistics(self)
        return self
