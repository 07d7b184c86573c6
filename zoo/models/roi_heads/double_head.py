"""Double-Head R-CNN: linear layers classify, convolutions find the box (Wu et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.backbones.resnet import BN, Bottleneck
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.conv_stack import run
from zoo.models.layers.linear import fc_stack, run_fcs
from zoo.models.roi_heads.bbox_head import RegionHead
from zoo.models.roi_heads.protocols import BoxOutputs
from zoo.models.roi_heads.standard import StandardRoIHead


class DoubleHeadRoIHead(StandardRoIHead):
    """The box is regressed from a larger region than the class. reg_roi_scale_factor: how much larger."""

    def __init__(self, reg_roi_scale_factor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.reg_roi_scale_factor = reg_roi_scale_factor

    def box_outputs(self, features: Sequence[Tensor], rois: Tensor) -> BoxOutputs:
        """Class logits and deltas of regions (M, 5)."""
        x_cls = self.share(self.bbox_roi_extractor(features, rois))
        x_reg = self.share(self.bbox_roi_extractor(features, rois, roi_scale_factor=self.reg_roi_scale_factor))
        return self.bbox_head(x_cls, x_reg)


class DoubleConvFCBBoxHead(RegionHead):
    """A branch of residual blocks for the box and one of linear layers for the class."""

    def __init__(
        self,
        num_convs: int = 4,
        num_fcs: int = 2,
        in_channels: int = 256,
        conv_out_channels: int = 1024,
        fc_out_channels: int = 1024,
        roi_feat_size: int = 7,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.res_block = WideningBlock(in_channels, conv_out_channels)
        self.conv_branch = nn.ModuleList(
            Bottleneck(conv_out_channels, conv_out_channels // 4, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
            for _ in range(num_convs)
        )
        self.avg_pool = nn.AvgPool2d(roi_feat_size)
        self.fc_branch, cls_channels = fc_stack(num_fcs, in_channels * roi_feat_size**2, fc_out_channels)
        self.add_predictors(cls_channels, conv_out_channels)

    def forward(self, x_cls: Tensor, x_reg: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Class logits (M, num_classes + 1) and deltas (M, 4 or 4 * num_classes).

        x_cls, x_reg: features (M, C, h, w) of the regions and of the enlarged regions.
        """
        x_cls = run_fcs(self.fc_branch, x_cls)
        x_reg = self.avg_pool(run(self.conv_branch, self.res_block(x_reg)))
        return self.run_predictors(x_cls, x_reg.flatten(1))


class WideningBlock(nn.Module):
    """A residual block whose output has more channels than its input."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = ConvModule(in_channels, in_channels, 3, padding=1, norm_cfg=BN)
        self.conv2 = ConvModule(in_channels, out_channels, 1, norm_cfg=BN, act_cfg=None)
        self.conv_identity = ConvModule(in_channels, out_channels, 1, norm_cfg=BN, act_cfg=None)

    def forward(self, x: Tensor) -> Tensor:
        """(M, in_channels, h, w) to (M, out_channels, h, w)."""
        return F.relu(self.conv2(self.conv1(x)) + self.conv_identity(x))
