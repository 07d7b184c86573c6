"""RetinaNet's head with normalization statistics of their own for each level (Ghiasi et al., NAS-FPN, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.fast_conv import FastConv2d


class RetinaSepBNHead(AnchorHead):
    """Towers whose convolutions are shared by the `num_ins` levels, while each level has its own batch norm."""

    def __init__(
        self,
        num_classes: int,
        num_ins: int,
        in_channels: int,
        stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)

        def towers() -> nn.ModuleList:
            levels = [tower(in_channels, self.feat_channels, stacked_convs, norm_cfg, conv_cfg) for _ in range(num_ins)]
            for level in levels[1:]:
                for own, shared in zip(level, levels[0]):
                    own.conv = shared.conv
            return nn.ModuleList(levels)

        self.cls_convs, self.reg_convs = towers(), towers()
        self.retina_cls = FastConv2d(self.feat_channels, self.num_base_priors * self.cls_out_channels, 3, padding=1)
        self.retina_reg = nn.Conv2d(self.feat_channels, self.num_base_priors * 4, 3, padding=1)
        init_dense(self, self.retina_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, A * C, H, W) and deltas (N, A * 4, H, W)."""
        return over_levels(self.forward_level, features, self.cls_convs, self.reg_convs)

    def forward_level(self, x: Tensor, cls_convs: nn.ModuleList, reg_convs: nn.ModuleList) -> tuple[Tensor, Tensor]:
        """One level's maps."""
        return self.retina_cls(run(cls_convs, x)), self.retina_reg(run(reg_convs, x))
