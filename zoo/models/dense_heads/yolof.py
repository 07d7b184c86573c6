"""YOLOF's head (Chen et al., You Only Look One-level Feature, 2021)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.towers import init_dense, over_levels, tower

BN = {"type": "BN", "requires_grad": True}
INF = 1e8


class YOLOFHead(AnchorHead):
    """Classes, boxes and an implicit objectness that is folded into the class logits."""

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        num_cls_convs: int = 2,
        num_reg_convs: int = 4,
        norm_cfg: Mapping[str, Any] | None = BN,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        anchors = self.num_base_priors
        self.cls_subnet = nn.Sequential(*tower(in_channels, in_channels, num_cls_convs, norm_cfg))
        self.bbox_subnet = nn.Sequential(*tower(in_channels, in_channels, num_reg_convs, norm_cfg))
        self.cls_score = nn.Conv2d(in_channels, anchors * num_classes, 3, padding=1)
        self.bbox_pred = nn.Conv2d(in_channels, anchors * 4, 3, padding=1)
        self.object_pred = nn.Conv2d(in_channels, anchors, 3, padding=1)
        init_dense(self, self.cls_score)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, A * C, H, W) and deltas (N, A * 4, H, W)."""
        return over_levels(self.forward_level, features)

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One level's maps."""
        region = self.bbox_subnet(x)
        logits = self.cls_score(self.cls_subnet(x)).unflatten(1, (self.num_base_priors, self.num_classes))
        objectness = self.object_pred(region).unsqueeze(2)
        return joint_logits(logits, objectness).flatten(1, 2), self.bbox_pred(region)


def joint_logits(a: Tensor, b: Tensor) -> Tensor:
    """Logits of sigmoid(a) * sigmoid(b), limited where an exponential would overflow."""
    return a + b - torch.log(1.0 + a.exp().clamp(max=INF) + b.exp().clamp(max=INF))
