"""YOLOF's encoder: one level whose receptive fields cover all scales (Chen et al., 2021, section 4.1)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule

BN = {"type": "BN", "requires_grad": True}


class DilatedBottleneck(nn.Module):
    """A residual block whose 3x3 convolution is dilated."""

    def __init__(self, channels: int, mid_channels: int, dilation: int) -> None:
        super().__init__()
        self.conv1 = ConvModule(channels, mid_channels, 1, norm_cfg=BN)
        self.conv2 = ConvModule(mid_channels, mid_channels, 3, padding=dilation, dilation=dilation, norm_cfg=BN)
        self.conv3 = ConvModule(mid_channels, channels, 1, norm_cfg=BN)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to the same."""
        return self.conv3(self.conv2(self.conv1(x))) + x


class DilatedEncoder(nn.Module):
    """A projection of the last level, and residual blocks of growing dilation."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        block_mid_channels: int,
        num_residual_blocks: int,
        block_dilations: Sequence[int],
    ) -> None:
        super().__init__()
        self.lateral_conv = nn.Conv2d(in_channels, out_channels, 1)
        self.lateral_norm = nn.BatchNorm2d(out_channels)
        self.fpn_conv = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.fpn_norm = nn.BatchNorm2d(out_channels)
        blocks = (DilatedBottleneck(out_channels, block_mid_channels, d) for d in block_dilations[:num_residual_blocks])
        self.dilated_encoder_blocks = nn.Sequential(*blocks)
        self.init_weights()

    def init_weights(self) -> None:
        """Xavier for the projection, small weights in the blocks."""
        for conv in (self.lateral_conv, self.fpn_conv):
            nn.init.xavier_uniform_(conv.weight)
        for module in self.dilated_encoder_blocks.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor]:
        """The last of the maps, (N, in_channels, H, W), to one map (N, out_channels, H, W)."""
        x = self.fpn_norm(self.fpn_conv(self.lateral_norm(self.lateral_conv(features[-1]))))
        return (self.dilated_encoder_blocks(x),)
