"""Box heads with convolutions and fully connected layers in front of the predictors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_stack import conv_stack, run
from zoo.models.layers.linear import fc_stack, run_fcs
from zoo.models.roi_heads.bbox_head import RegionHead


class ConvFCBBoxHead(RegionHead):
    """Shared convolutions and linear layers, then a branch of each for classes and one for boxes."""

    def __init__(
        self,
        num_shared_convs: int = 0,
        num_shared_fcs: int = 0,
        num_cls_convs: int = 0,
        num_cls_fcs: int = 0,
        num_reg_convs: int = 0,
        num_reg_fcs: int = 0,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        roi_feat_size: int = 7,
        with_avg_pool: bool = False,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.avg_pool = nn.AvgPool2d(roi_feat_size) if with_avg_pool else None
        area = 1 if with_avg_pool else roi_feat_size**2
        convs: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}

        def branch(num_convs: int, num_fcs: int, channels: int, flat: bool) -> tuple[nn.ModuleList, nn.ModuleList, int]:
            conv_layers = conv_stack(num_convs, channels, conv_out_channels, **convs)
            channels = conv_out_channels if num_convs else channels
            # The first linear layer of a path sees the whole map; predictors do too, where there is none at all.
            fcs, channels = fc_stack(num_fcs, channels if flat else channels * area, fc_out_channels)
            return conv_layers, fcs, channels

        self.shared_convs = conv_stack(num_shared_convs, in_channels, conv_out_channels, **convs)
        channels = conv_out_channels if num_shared_convs else in_channels
        self.shared_fcs = nn.ModuleList()
        if num_shared_fcs > 0:
            self.shared_fcs, channels = fc_stack(num_shared_fcs, channels * area, fc_out_channels)
        flat = num_shared_fcs > 0
        self.cls_convs, self.cls_fcs, cls_channels = branch(num_cls_convs, num_cls_fcs, channels, flat)
        self.reg_convs, self.reg_fcs, reg_channels = branch(num_reg_convs, num_reg_fcs, channels, flat)
        self.add_predictors(cls_channels, reg_channels)

    def forward(self, x: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Region features (M, C, h, w) to class logits (M, num_classes + 1) and deltas (M, 4 or 4 * num_classes)."""
        x = self.run_shared(x)
        return self.run_predictors(
            self.run_branch(self.cls_convs, self.cls_fcs, x), self.run_branch(self.reg_convs, self.reg_fcs, x)
        )

    def run_shared(self, x: Tensor) -> Tensor:
        """Region features (M, C, h, w) behind the shared layers: (M, D) if linear ones are among them."""
        x = run(self.shared_convs, x)
        return run_fcs(self.shared_fcs, self.averaged(x)) if len(self.shared_fcs) else x

    def run_branch(self, convs: nn.ModuleList, fcs: nn.ModuleList, x: Tensor) -> Tensor:
        """A branch's features (M, D)."""
        return run_fcs(fcs, self.averaged(run(convs, x))).flatten(1)

    def averaged(self, x: Tensor) -> Tensor:
        """Maps (M, C, h, w) averaged where the head says so; others, and flat features, unchanged."""
        return self.avg_pool(x) if x.dim() > 2 and self.avg_pool is not None else x


class Shared2FCBBoxHead(ConvFCBBoxHead):
    """Two shared linear layers (FPN's box head)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(num_shared_fcs=2, **kwargs)


class Shared4Conv1FCBBoxHead(ConvFCBBoxHead):
    """Four shared convolutions and a linear layer (Wu and He, Group Normalization, 2018)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(num_shared_convs=4, num_shared_fcs=1, **kwargs)
