"""CentripetalNet's head (Dong et al., Pursuing High-quality Keypoint Pairs, 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.corner import CORNERS, SHIFT, CornerHead, Maps
from zoo.models.dense_heads.corner_groups import Corners
from zoo.models.dense_heads.heatmaps import Peaks
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.deform_conv import DeformConv

GUIDING = {"type": "SmoothL1Loss", "loss_weight": 0.05}


class CentripetalHead(CornerHead):
    """Corners as in CornerNet, paired by the centers of their boxes, to which each corner points.

    A guiding shift steers a deformable convolution, from which the centripetal shift comes. feat_adaption_conv_kernel:
    its size. The numbers of shift channels are always 2: x and y.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        centripetal_shift_channels: int = 2,
        guiding_shift_channels: int = 2,
        feat_adaption_conv_kernel: int = 3,
        loss_guiding_shift: Mapping[str, Any] = GUIDING,
        loss_centripetal_shift: Mapping[str, Any] = SHIFT,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.loss_cfg.update(guiding_shift=loss_guiding_shift, centripetal_shift=loss_centripetal_shift)
        kernel = feat_adaption_conv_kernel
        for corner in CORNERS:
            adaption, offsets = nn.ModuleList(), nn.ModuleList()
            for _ in range(self.num_feat_levels):
                adaption.append(DeformConv(in_channels, in_channels, kernel, padding=1))
                outputs = kernel**2 * guiding_shift_channels
                offsets.append(ConvModule(guiding_shift_channels, outputs, 1, bias=False, act_cfg=None))
            self.add_module(f"{corner}_feat_adaption", adaption)
            self.add_module(f"{corner}_dcn_offset", offsets)
            self.add_branches(f"{corner}_guiding_shift", guiding_shift_channels)
            self.add_branches(f"{corner}_centripetal_shift", centripetal_shift_channels)

    def forward_corner(self, x: Tensor, corner: str, level: int) -> Maps:
        """One corner's maps of one level; also "guiding" and "centripetal" shifts, logarithms of cells."""
        pooled = self.run_branch(f"{corner}_pool", level, x)
        maps = {kind: self.run_branch(f"{corner}_{kind}", level, pooled) for kind in self.outputs}
        maps["guiding"] = self.run_branch(f"{corner}_guiding_shift", level, pooled)
        offset = self.run_branch(f"{corner}_dcn_offset", level, maps["guiding"].detach())
        adapted = getattr(self, f"{corner}_feat_adaption")[level](pooled, offset)
        maps["centripetal"] = self.run_branch(f"{corner}_centripetal_shift", level, adapted)
        return maps

    def add_hints(self, result: Corners, maps: Maps, corner: str, peaks: Peaks, cells: Tensor) -> None:
        """By what corners are paired: their boxes' centers, inwards of the corners by the centripetal shift."""
        shift = peaks.read(maps["centripetal"]).exp()
        result.centers = cells + shift if corner == "tl" else cells - shift
