"""Content-aware reassembly of features: upsampling with a predicted kernel per pixel (Wang et al., CARAFE, 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.tracing import recording, sliding

# Rows of the map are done in blocks whose windows have no more elements than this, to bound the memory.
BLOCK = 1 << 25


def carafe(x: Tensor, kernels: Tensor, kernel_size: int, groups: int, scale: int) -> Tensor:
    """Every output pixel is a weighted sum of the window around the input pixel that it lies in, zero outside.

    x: (N, C, H, W). kernels: (N, groups * kernel_size ** 2, scale * H, scale * W), windows row by row, one kernel for
    each of `groups` groups of channels. Returns (N, C, scale * H, scale * W).
    """
    n, channels, height, width = x.shape
    area, border = kernel_size**2, kernel_size // 2
    padded = F.pad(x, (border,) * 4).permute(0, 2, 3, 1)
    weights = kernels.view(n, groups, area, height, scale, width, scale)
    weights = weights.permute(0, 3, 5, 1, 4, 6, 2).reshape(n, height, width, groups, scale**2, area)
    rows = height if recording() else max(1, BLOCK // max(1, n * width * channels * area))
    blocks = []
    for top in [0] if recording() else range(0, height, rows):
        bottom = min(top + rows, height)
        windows = sliding(sliding(padded[:, top : bottom + 2 * border], 1, kernel_size), 2, kernel_size)
        windows = windows.reshape(n, bottom - top, width, groups, channels // groups, area)
        blocks.append(weights[:, top:bottom] @ windows.transpose(-1, -2))
    out = torch.cat(blocks, dim=1).view(n, height, width, groups, scale, scale, channels // groups)
    return out.permute(0, 3, 6, 1, 4, 2, 5).reshape(n, channels, scale * height, scale * width)


class CARAFEPack(nn.Module):
    """Upsampling whose kernels are predicted from the features themselves.

    scale_factor: of the resolution. up_kernel, up_group: size of the kernels, and groups of channels that have one
    each. encoder_kernel, encoder_dilation, compressed_channels: of the convolutions that predict the kernels.
    """

    def __init__(
        self,
        channels: int,
        scale_factor: int,
        up_kernel: int = 5,
        up_group: int = 1,
        encoder_kernel: int = 3,
        encoder_dilation: int = 1,
        compressed_channels: int = 64,
    ) -> None:
        super().__init__()
        self.scale_factor, self.up_kernel, self.up_group = scale_factor, up_kernel, up_group
        self.channel_compressor = nn.Conv2d(channels, compressed_channels, 1)
        self.content_encoder = nn.Conv2d(
            compressed_channels,
            up_kernel**2 * up_group * scale_factor**2,
            encoder_kernel,
            padding=(encoder_kernel - 1) * encoder_dilation // 2,
            dilation=encoder_dilation,
        )
        self.init_weights()

    def init_weights(self) -> None:
        """Kernels that are almost means at first."""
        nn.init.xavier_uniform_(self.channel_compressor.weight)
        nn.init.normal_(self.content_encoder.weight, std=0.001)
        for layer in (self.channel_compressor, self.content_encoder):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, H, W) to (N, channels, scale_factor * H, scale_factor * W)."""
        kernels = F.pixel_shuffle(self.content_encoder(self.channel_compressor(x)), self.scale_factor)
        kernels = kernels.unflatten(1, (self.up_group, self.up_kernel**2)).softmax(dim=2).flatten(1, 2)
        return carafe(x, kernels, self.up_kernel, self.up_group, self.scale_factor)
