"""Darknet-53 (Redmon and Farhadi, YOLOv3, 2018)."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.freezing import freeze, keep_statistics

BN = {"type": "BN"}
LEAKY = {"type": "LeakyReLU", "negative_slope": 0.1}
STEM_CHANNELS = 32
# Depth -> residual blocks per stage; each stage doubles the channels.
STAGES = {53: (1, 2, 8, 8, 4)}


class ResBlock(nn.Module):
    """A 1x1 convolution to half of the channels, a 3x3 one back, and a shortcut."""

    def __init__(self, channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, channels // 2, 1, **kwargs)
        self.conv2 = ConvModule(channels // 2, channels, 3, padding=1, **kwargs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        return self.conv2(self.conv1(x)) + x


class Darknet(nn.Module):
    """A convolution and five stages; returns the outputs in `out_indices` (0 is the first convolution), finest first.

    frozen_stages: so many of these are not trained; norm_eval: batch norm keeps its statistics in training.
    """

    def __init__(
        self,
        depth: int = 53,
        out_indices: Sequence[int] = (3, 4, 5),
        frozen_stages: int = -1,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
        act_cfg: Mapping[str, Any] = LEAKY,
        norm_eval: bool = True,
    ) -> None:
        super().__init__()
        if depth not in STAGES:
            raise BuildError(f"there is no Darknet of depth {depth}; known: {', '.join(map(str, STAGES))}")
        self.out_indices, self.frozen_stages, self.norm_eval = tuple(out_indices), frozen_stages, norm_eval
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg, "act_cfg": act_cfg}
        self.conv1 = ConvModule(3, STEM_CHANNELS, 3, padding=1, **common)
        self.stage_names = ["conv1"]
        for i, blocks in enumerate(STAGES[depth]):
            channels = STEM_CHANNELS * 2 ** (i + 1)
            layers = OrderedDict[str, nn.Module](
                conv=ConvModule(channels // 2, channels, 3, stride=2, padding=1, **common)
            )
            layers.update((f"res{k}", ResBlock(channels, **common)) for k in range(blocks))
            self.stage_names.append(f"conv_res_block{i + 1}")
            self.add_module(self.stage_names[-1], nn.Sequential(layers))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """(N, 3, H, W) to feature maps (N, 32 * 2^i, H / 2^i, W / 2^i), finest first."""
        outputs = []
        for i, name in enumerate(self.stage_names):
            x = getattr(self, name)(x)
            if i in self.out_indices:
                outputs.append(x)
        return tuple(outputs)

    def train(self, mode: bool = True) -> Darknet:
        """Training mode, but frozen stages stay frozen and batch norm keeps its statistics where asked."""
        super().train(mode)
        freeze(getattr(self, name) for name in self.stage_names[: max(self.frozen_stages, 0)])
        if self.norm_eval:
            keep_statistics(self)
        return self
