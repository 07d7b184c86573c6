"""CenterNet's upsampling path on ResNet (Zhou et al., Objects as Points, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule

BN = {"type": "BN"}


class CTResNetNeck(nn.Module):
    """Convolutions and transposed convolutions in turn, each of the latter doubling the resolution.

    num_deconv_filters, num_deconv_kernels: channels and kernel size of each. use_dcn: the convolutions are deformable.
    """

    def __init__(
        self,
        in_channel: int,
        num_deconv_filters: Sequence[int],
        num_deconv_kernels: Sequence[int],
        use_dcn: bool = True,
    ) -> None:
        super().__init__()
        conv_cfg = {"type": "DCNv2"} if use_dcn else None
        layers = []
        for before, after, kernel in zip((in_channel, *num_deconv_filters), num_deconv_filters, num_deconv_kernels):
            layers.append(ConvModule(before, after, 3, padding=1, conv_cfg=conv_cfg, norm_cfg=BN))
            layers.append(
                ConvModule(after, after, kernel, stride=2, padding=1, conv_cfg={"type": "deconv"}, norm_cfg=BN)
            )
        self.deconv_layers = nn.Sequential(*layers)
        for module in self.modules():
            if isinstance(module, nn.ConvTranspose2d):
                nn.init.zeros_(module.weight)
                module.weight.data[:, 0] = bilinear_kernel(module.kernel_size[0])

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor]:
        """The last of the maps, (N, in_channel, H, W), to one map (N, C, 2^n H, 2^n W)."""
        return (self.deconv_layers(inputs[-1]),)


def bilinear_kernel(size: int) -> Tensor:
    """(size, size) weights with which a transposed convolution of stride 2 interpolates."""
    half = (size + 1) // 2
    center = (2 * half - 1 - half % 2) / (2.0 * half)
    line = 1 - (torch.arange(size) / half - center).abs()
    return line[:, None] * line
