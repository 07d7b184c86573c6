"""Semantic segmentation beside the detection of instances (Chen et al., Hybrid Task Cascade, 2019, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.conv_stack import conv_stack, run

SEGMENTATION = {"type": "CrossEntropyLoss", "ignore_index": 255, "loss_weight": 0.2}


class FusedSemanticHead(nn.Module):
    """All pyramid levels, brought to the resolution of one and added, then convolutions.

    num_ins: levels. fusion_level: the one that gives the resolution. num_classes: of the semantic segmentation.
    conv_to_res: residual blocks of two convolutions each (SCNet).
    """

    learns_semantic = True

    def __init__(
        self,
        num_ins: int,
        fusion_level: int,
        num_convs: int = 4,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        num_classes: int = 183,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        conv_to_res: bool = False,
        loss_seg: Mapping[str, Any] = SEGMENTATION,
    ) -> None:
        super().__init__()
        self.fusion_level, self.num_classes, self.loss_cfg = fusion_level, num_classes, {"seg": loss_seg}
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self.lateral_convs = nn.ModuleList(
            ConvModule(in_channels, in_channels, 1, inplace=False, **common) for _ in range(num_ins)
        )
        self.convs = conv_stack(num_convs, in_channels, conv_out_channels, residual=conv_to_res, **common)
        self.conv_embedding = ConvModule(conv_out_channels, conv_out_channels, 1, **common)
        self.conv_logits = nn.Conv2d(conv_out_channels, num_classes, 1)
        nn.init.kaiming_normal_(self.conv_logits.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Segmentation logits (N, num_classes, H, W) and features (N, conv_out_channels, H, W) for the region heads.

        features: per level (N, C, H, W).
        """
        size = features[self.fusion_level].shape[-2:]
        fused = self.lateral_convs[self.fusion_level](features[self.fusion_level])
        for i, (conv, x) in enumerate(zip(self.lateral_convs, features)):
            if i != self.fusion_level:
                fused = fused + conv(F.interpolate(x, size=size, mode="bilinear", align_corners=True))
        fused = run(self.convs, fused)
        return self.conv_logits(fused), self.conv_embedding(fused)


class SCNetSemanticHead(FusedSemanticHead):
    """A semantic head of residual blocks (Vu et al., SCNet, 2020)."""

    def __init__(self, conv_to_res: bool = True, **kwargs: Any) -> None:
        super().__init__(conv_to_res=conv_to_res, **kwargs)
