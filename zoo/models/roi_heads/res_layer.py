"""A residual stage as the shared part of a C4 detector's second stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.backbones.residual import BN, make_stage
from zoo.models.backbones.resnet import BLOCKS
from zoo.models.layers.freezing import keep_statistics


class SharedResLayer(nn.Module):
    """Stage number `stage` (0 to 3) of a ResNet."""

    def __init__(
        self,
        depth: int,
        stage: int = 3,
        stride: int = 2,
        dilation: int = 1,
        style: str = "pytorch",
        norm_cfg: Mapping[str, Any] = BN,
        norm_eval: bool = True,
        dcn: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.norm_eval = norm_eval
        block, counts = BLOCKS[depth]
        inplanes, planes = 64 * 2 ** (stage - 1) * block.expansion, 64 * 2**stage
        layer = make_stage(
            block, counts[stage], inplanes, planes, stride, norm_cfg=norm_cfg, dilation=dilation, style=style, dcn=dcn
        )
        self.stage_name = f"layer{stage + 1}"
        self.add_module(self.stage_name, layer)

    def forward(self, x: Tensor) -> Tensor:
        """Region features (M, C, h, w) to (M, 2 * C, h / stride, w / stride)."""
        return getattr(self, self.stage_name)(x)

    def train(self, mode: bool = True) -> SharedResLayer:
        """Training mode; batch norm keeps its statistics where asked."""
        super().train(mode)
        if self.norm_eval:
            keep_statistics(self)
        return self
