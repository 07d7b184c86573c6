"""MobileNetV2 (Sandler et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.freezing import freeze, keep_statistics
from zoo.models.layers.inverted_residual import InvertedResidual, make_divisible

BN = {"type": "BN"}
RELU6 = {"type": "ReLU6"}
STEM_CHANNELS, LAST_CHANNELS = 32, 1280
# Per stage: expansion, channels, blocks, stride.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class MobileNetV2(nn.Module):
    """Seven stages of inverted residuals and a last convolution (index 7); returns the outputs in `out_indices`.

    widen_factor: scales all channels. frozen_stages: so many stages (and the stem, from 0 on) are not trained;
    norm_eval: batch norm keeps its statistics in training.
    """

    def __init__(
        self,
        widen_factor: float = 1.0,
        out_indices: Sequence[int] = (1, 2, 4, 7),
        frozen_stages: int = -1,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
        act_cfg: Mapping[str, Any] = RELU6,
        norm_eval: bool = False,
    ) -> None:
        super().__init__()
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        before = make_divisible(STEM_CHANNELS * widen_factor)
        self.conv1 = ConvModule(3, before, 3, stride=2, padding=1, **common)
        self.stage_names = []
        for i, (expansion, channels, count, stride) in enumerate(STAGES, start=1):
            channels = make_divisible(channels * widen_factor)
            blocks = []
            for k in range(count):
                step = stride if k == 0 else 1
                blocks.append(InvertedResidual(before, channels, before * expansion, stride=step, **common))
                before = channels
            self.stage_names.append(f"layer{i}")
            self.add_module(f"layer{i}", nn.Sequential(*blocks))
        self.conv2 = ConvModule(before, int(LAST_CHANNELS * max(widen_factor, 1.0)), 1, **common)
        self.stage_names.append("conv2")

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to feature maps, finest first."""
        x, outputs = self.conv1(x), []
        for i, name in enumerate(self.stage_names):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> MobileNetV2:
        """Training mode, but frozen stages stay frozen and batch norm keeps its statistics where asked."""
        super().train(mode)
        if self.frozen_stages >= 0:
            freeze([self.conv1, *(getattr(self, name) for name in self.stage_names[: self.frozen_stages])])
        if self.norm_eval:
            keep_statistics(self)
        return self
