"""MobileNetV3-Large as SSDLite and Faster R-CNN use it (Howard et al., Searching for MobileNetV3, 2019, table 1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_module import RELU, ConvModule
from zoo.models.layers.inverted_residual import InvertedResidual, make_divisible
from zoo.models.layers.squeeze_excitation import SELayer

BN = {"type": "BN", "eps": 1e-3, "momentum": 0.01}
HSWISH = {"type": "HSwish"}
HSIGMOID = {"type": "HSigmoid"}
STEM_CHANNELS, SE_RATIO, EXPANSION = 16, 4, 6
# Per block: kernel size, hidden channels, channels, squeeze and excitation, activation, stride.
BLOCKS = (
    (3, 16, 16, False, RELU, 1),
    (3, 64, 24, False, RELU, 2),
    (3, 72, 24, False, RELU, 1),
    (5, 72, 40, True, RELU, 2),
    (5, 120, 40, True, RELU, 1),
    (5, 120, 40, True, RELU, 1),
    (3, 240, 80, False, HSWISH, 2),
    (3, 200, 80, False, HSWISH, 1),
    (3, 184, 80, False, HSWISH, 1),
    (3, 184, 80, False, HSWISH, 1),
    (3, 480, 112, True, HSWISH, 1),
    (3, 672, 112, True, HSWISH, 1),
)


class MobileNetV3(nn.Module):
    """Fifteen inverted residuals between two convolutions.

    reduced_tail: the layers behind the last stride have half their channels. whole_blocks: the finer output is that of
    the block with the last stride, as feature pyramids have it, instead of the hidden layer in front of the stride.
    """

    def __init__(
        self, reduced_tail: bool = False, norm_cfg: Mapping[str, Any] = BN, whole_blocks: bool = False
    ) -> None:
        super().__init__()
        self.whole_blocks = whole_blocks
        self.conv1 = ConvModule(3, STEM_CHANNELS, 3, stride=2, padding=1, norm_cfg=norm_cfg, act_cfg=HSWISH)
        tail = 80 if reduced_tail else 160
        rows = (*BLOCKS, (5, 672, tail, True, HSWISH, 2), *[(5, tail * EXPANSION, tail, True, HSWISH, 1)] * 2)
        self.blocks, before = nn.ModuleList(), STEM_CHANNELS
        for kernel, hidden, channels, squeeze, act_cfg, stride in rows:
            common: dict[str, Any] = {"norm_cfg": norm_cfg, "act_cfg": act_cfg}
            se = SELayer(hidden, make_divisible(hidden // SE_RATIO), gate_cfg=HSIGMOID) if squeeze else None
            self.blocks.append(InvertedResidual(before, channels, hidden, kernel, stride, se, **common))
            before = channels
        self.conv2 = ConvModule(before, before * EXPANSION, 1, norm_cfg=norm_cfg, act_cfg=HSWISH)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, H, W) to the hidden layer in front of the last stride and the last layer, strides 16 and 32.

        With `whole_blocks` both have stride 32.
        """
        x = self.conv1(x)
        for block in self.blocks[: len(BLOCKS)]:
            x = block(x)
        strided: Any = self.blocks[len(BLOCKS)]
        fine = strided.expand(x)
        x = strided.project(fine)
        fine = x if self.whole_blocks else fine
        for block in self.blocks[len(BLOCKS) + 1 :]:
            x = block(x)
        return fine, self.conv2(x)
