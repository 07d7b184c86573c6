"""Generalized focal loss (Li et al., 2020): quality as class score, and sides as distributions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.coders.delta import center_and_size
from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.atss import GN
from zoo.models.dense_heads.fcos import DISTANCE
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.scale import Scale
from zoo.structures import Detections, ImageGeometry

DISTILLATION = {"type": "KnowledgeDistillationKLDivLoss", "loss_weight": 0.25, "T": 10}


class Integral(nn.Module):
    """Expected value of a distribution over 0, 1, ..., reg_max (equation 6)."""

    project: Tensor

    def __init__(self, reg_max: int) -> None:
        super().__init__()
        self.register_buffer("project", torch.linspace(0, reg_max, reg_max + 1))

    def forward(self, logits: Tensor) -> Tensor:
        """Logits (..., reg_max + 1) to expected values (...)."""
        return (logits.softmax(dim=-1) * self.project).sum(dim=-1)


class GFLHead(AnchorHead):
    """Classes and one box per cell; each side is a distribution over its distance from the anchor's center in strides.

    reg_max: largest distance.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = GN,
        bbox_coder: Mapping[str, Any] = DISTANCE,
        reg_max: int = 16,
        loss_dfl: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes, in_channels, bbox_coder=bbox_coder or {"type": "DistancePointBBoxCoder"}, **kwargs
        )
        channels = self.feat_channels
        self.reg_max = reg_max
        self.loss_cfg["dfl"] = loss_dfl or {"type": "DistributionFocalLoss", "loss_weight": 0.25}
        self.cls_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg)
        self.reg_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg)
        self.gfl_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        self.gfl_reg = nn.Conv2d(channels, 4 * (reg_max + 1), 3, padding=1)
        self.scales = nn.ModuleList(Scale() for _ in self.prior_generator.strides)
        self.integral = Integral(reg_max)
        init_dense(self, self.gfl_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, C, H, W) and side logits (N, 4 * (reg_max + 1), H, W)."""
        return over_levels(self.forward_level, features, self.scales)

    def forward_level(self, x: Tensor, scale: nn.Module) -> tuple[Tensor, Tensor]:
        """One level's maps."""
        return self.gfl_cls(run(self.cls_convs, x)), scale(self.gfl_reg(run(self.reg_convs, x))).float()

    def predict(self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates."""
        logits, sides = outputs
        strides = [stride[0] for stride in self.prior_generator.strides]
        return super().predict((logits, [self.distances(x) * stride for x, stride in zip(sides, strides)]), geometries)

    def distances(self, sides: Tensor) -> Tensor:
        """Side logits (N, 4 * (reg_max + 1), H, W) to distances (N, 4, H, W) in strides."""
        return self.integral(sides.unflatten(1, (4, self.reg_max + 1)).movedim(2, -1))

    def decode(self, priors: Tensor, regression: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes (K, 4) from anchors (K, 4) and distances (K, 4) in pixels."""
        return self.bbox_coder.decode(center_and_size(priors)[0], regression, size=size)


class LDHead(GFLHead):
    """GFL that learns its distributions from a teacher (Zheng et al., Localization Distillation, 2022)."""

    def __init__(
        self, num_classes: int, in_channels: int, loss_ld: Mapping[str, Any] = DISTILLATION, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.loss_cfg["ld"] = loss_ld
