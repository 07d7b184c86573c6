"""ResNeSt: split-attention networks (Zhang et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from zoo.models.backbones.residual import BN, Bottleneck, deformable
from zoo.models.backbones.resnet import ResNet, plan
from zoo.models.layers.conv import make_conv
from zoo.models.layers.norm import make_norm


class SplitAttentionConv(nn.Module):
    """`radix` convolutions side by side, blended per channel by attention over their pooled sum.

    groups: the cardinality. reduction_factor: of the attention's hidden channels.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        radix: int = 2,
        reduction_factor: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] = BN,
    ) -> None:
        super().__init__()
        self.radix, self.groups = radix, groups
        wide, hidden = channels * radix, max(channels * radix // reduction_factor, 32)
        geometry: dict[str, Any] = {"stride": stride, "padding": dilation, "dilation": dilation}
        self.conv = make_conv(conv_cfg, channels, wide, kernel_size, groups=groups * radix, bias=False, **geometry)
        self.norm0_name, norm0 = make_norm(norm_cfg, wide, 0)
        self.add_module(self.norm0_name, norm0)
        self.relu = nn.ReLU(inplace=True)
        self.fc1 = nn.Conv2d(channels, hidden, 1, groups=groups)
        self.norm1_name, norm1 = make_norm(norm_cfg, hidden, 1)
        self.add_module(self.norm1_name, norm1)
        self.fc2 = nn.Conv2d(hidden, wide, 1, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, channels, H / stride, W / stride)."""
        x = self.relu(getattr(self, self.norm0_name)(self.conv(x)))
        splits = x.unflatten(1, (self.radix, -1))
        pooled = splits.sum(dim=1).mean(dim=(2, 3), keepdim=True)
        hidden = self.relu(getattr(self, self.norm1_name)(self.fc1(pooled)))
        return (splits * self.attention(self.fc2(hidden))).sum(dim=1)

    def attention(self, logits: Tensor) -> Tensor:
        """Weights (N, radix, channels, 1, 1) of logits (N, radix * channels, 1, 1), whose groups come first."""
        if self.radix == 1:
            return logits.sigmoid()[:, None]
        by_split = logits.unflatten(1, (self.groups, self.radix, -1)).transpose(1, 2)
        return by_split.softmax(dim=1).flatten(2, 3)


class SplitAttentionBottleneck(Bottleneck):
    """A bottleneck around a split-attention convolution.

    avg_down_stride: average pooling behind the convolution strides instead of it.
    """

    def __init__(
        self, *args: Any, radix: int = 2, reduction_factor: int = 4, avg_down_stride: bool = True, **kwargs: Any
    ) -> None:
        self.split = {"radix": radix, "reduction_factor": reduction_factor}
        self.avg_down_stride = avg_down_stride
        super().__init__(*args, **kwargs)

    def add_middle(
        self,
        width: int,
        stride: int,
        dilation: int,
        groups: int,
        conv_cfg: Mapping[str, Any] | None,
        norm_cfg: Mapping[str, Any],
        dcn: Mapping[str, Any] | None,
    ) -> None:
        """The split-attention convolution, which brings its own normalization."""
        pooled = self.avg_down_stride and stride > 1
        self.conv2 = SplitAttentionConv(
            width,
            3,
            1 if pooled else stride,
            dilation,
            groups,
            conv_cfg=deformable(dcn) or conv_cfg,
            norm_cfg=norm_cfg,
            **self.split,
        )
        self.avd_layer = nn.AvgPool2d(3, stride, padding=1) if pooled else nn.Identity()

    def middle(self, x: Tensor) -> Tensor:
        """(N, width, H, W) to (N, width, H / stride, W / stride)."""
        return self.avd_layer(self.conv2(x))


BLOCKS = {
    50: (SplitAttentionBottleneck, (3, 4, 6, 3)),
    101: (SplitAttentionBottleneck, (3, 4, 23, 3)),
    152: (SplitAttentionBottleneck, (3, 8, 36, 3)),
    200: (SplitAttentionBottleneck, (3, 24, 36, 3)),
}


class ResNeSt(ResNet):
    """ResNet-D with split-attention convolutions; `radix` splits, further arguments as in `ResNet`."""

    def __init__(
        self,
        depth: int,
        groups: int = 1,
        base_width: int = 4,
        radix: int = 2,
        reduction_factor: int = 4,
        avg_down_stride: bool = True,
        num_stages: int = 4,
        base_channels: int = 64,
        **kwargs: Any,
    ) -> None:
        stages = plan(
            BLOCKS,
            depth,
            num_stages,
            base_channels,
            groups=groups,
            base_width=base_width,
            radix=radix,
            reduction_factor=reduction_factor,
            avg_down_stride=avg_down_stride,
        )
        super().__init__(depth, base_channels=base_channels, deep_stem=True, avg_down=True, stages=stages, **kwargs)
