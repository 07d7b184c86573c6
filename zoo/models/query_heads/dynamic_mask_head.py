"""QueryInst's mask head (Fang et al., Instances as Queries, 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.roi_heads.fcn_mask_head import FCNMaskHead
from zoo.models.transformer.layers import init_transformer

DYNAMIC_CONV = {"type": "DynamicConv", "out_channels": 256, "input_feat_shape": 14, "with_proj": False}


class DynamicMaskHead(FCNMaskHead):
    """A mask head whose regions first go through a dynamic convolution with their query."""

    def __init__(self, dynamic_conv_cfg: Mapping[str, Any] = DYNAMIC_CONV, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.instance_interactive_conv = component(dynamic_conv_cfg)
        init_transformer(self)
        nn.init.zeros_(self.conv_logits.bias)

    def forward(self, x: Tensor, queries: Tensor) -> Tensor:  # type: ignore[override]
        """Region features (M, C, h, w) and queries (M, C) to mask logits (M, num_classes, 2 * h, 2 * w)."""
        x = self.instance_interactive_conv(queries, x).transpose(1, 2).reshape(x.shape)
        return super().forward(x)
