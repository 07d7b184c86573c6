"""FoveaBox's head (Kong et al., Beyond Anchor-based Object Detector, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.fcos import DISTANCE, FOCAL
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.deform_conv import DeformConv
from zoo.models.priors.points import PointGenerator
from zoo.structures import Detections, ImageGeometry

RANGES = ((8, 32), (16, 64), (32, 128), (64, 256), (128, 512))


class FeatureAlign(nn.Module):
    """A deformable convolution that samples where the predicted box is."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, deform_groups: int = 4) -> None:
        super().__init__()
        self.conv_offset = nn.Conv2d(4, deform_groups * kernel_size**2 * 2, 1, bias=False)
        self.conv_adaption = DeformConv(
            in_channels, out_channels, kernel_size, padding=kernel_size // 2, deform_groups=deform_groups
        )
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor, shape: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H, W). shape: (N, 4, H, W), distances to the box's sides."""
        return self.relu(self.conv_adaption(x, self.conv_offset(shape)))


class FoveaHead(AnchorHead):
    """Classes, and the logarithms of the distances to the box's sides in units of the level's base edge.

    base_edge_list: pixels per unit and level. with_deform: the class tower sees features aligned to the box
    (FoveaBox-align). scale_ranges: object sizes that each level is trained for. sigma: the trained part of a box.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        base_edge_list: Sequence[int] = (16, 32, 64, 128, 256),
        scale_ranges: Sequence[Sequence[int]] = RANGES,
        sigma: float = 0.4,
        with_deform: bool = False,
        deform_groups: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        loss_cls: Mapping[str, Any] = FOCAL,
        bbox_coder: Mapping[str, Any] = DISTANCE,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, loss_cls=loss_cls, bbox_coder=bbox_coder, **kwargs)
        self.strides, self.base_edge_list = tuple(strides), tuple(base_edge_list)
        self.scale_ranges, self.sigma = tuple(scale_ranges), sigma
        self.prior_generator = PointGenerator(strides)
        channels = self.feat_channels
        options: dict[str, Any] = {"norm_cfg": norm_cfg, "conv_cfg": conv_cfg}
        self.reg_convs = tower(in_channels, channels, stacked_convs, **options)
        self.conv_reg = nn.Conv2d(channels, 4, 3, padding=1)
        self.feature_adaption = FeatureAlign(channels, channels, deform_groups=deform_groups) if with_deform else None
        if with_deform:
            wide = ConvModule(channels, channels * 4, 3, padding=1, **options)
            self.cls_convs = nn.ModuleList([wide, ConvModule(channels * 4, channels * 4, 1, **options)])
            channels *= 4
        else:
            self.cls_convs = tower(in_channels, channels, stacked_convs, **options)
        self.conv_cls = nn.Conv2d(channels, self.cls_out_channels, 3, padding=1)
        init_dense(self, self.conv_cls)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, C, H, W) and logarithms of distances (N, 4, H, W)."""
        return over_levels(self.forward_level, features)

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """One level's maps."""
        sides = self.conv_reg(run(self.reg_convs, x))
        if self.feature_adaption is not None:
            x = self.feature_adaption(x, sides.exp())
        return self.conv_cls(run(self.cls_convs, x)), sides

    def predict(self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates."""
        logits, sides = outputs
        return super().predict((logits, [x.exp() * edge for x, edge in zip(sides, self.base_edge_list)]), geometries)

    def decode(self, priors: Tensor, regression: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes (K, 4) from points and distances (K, 4) in pixels, clipped to the last pixel's center."""
        return self.bbox_coder.decode(priors, regression, size=(size[0] - 1, size[1] - 1))
