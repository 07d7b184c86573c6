"""Global context block (Cao et al., GCNet, 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.models.layers.fast_conv import FastConv2d


class ContextBlock(nn.Module):
    """Attention pools one context vector per image; a bottleneck transforms it; it is added to every pixel.

    ratio: of the bottleneck's to the input's channels. pooling_type: "att", or "avg" for the plain mean.
    fusion_types: "channel_add", and "channel_mul" to scale by a sigmoid first.
    """

    def __init__(
        self,
        in_channels: int,
        ratio: float,
        pooling_type: str = "att",
        fusion_types: Sequence[str] = ("channel_add",),
    ) -> None:
        super().__init__()
        self.conv_mask = FastConv2d(in_channels, 1, 1) if pooling_type == "att" else None
        hidden = int(in_channels * ratio)
        self.channel_add_conv = transform(in_channels, hidden) if "channel_add" in fusion_types else None
        self.channel_mul_conv = transform(in_channels, hidden) if "channel_mul" in fusion_types else None

        self.start_neutral()

    def start_neutral(self) -> None:
        """Nothing is added at first."""
        for block in (self.channel_add_conv, self.channel_mul_conv):
            if block is not None:
                nn.init.zeros_(block[-1].weight)  # type: ignore[arg-type]
                nn.init.zeros_(block[-1].bias)  # type: ignore[arg-type]

    def pool(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to context (N, C, 1, 1)."""
        if self.conv_mask is None:
            return x.mean(dim=(2, 3), keepdim=True)
        attention = self.conv_mask(x).flatten(2).softmax(dim=2)
        return torch.bmm(x.flatten(2), attention.transpose(1, 2))[..., None]

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        context = self.pool(x)
        if self.channel_mul_conv is not None:
            x = x * self.channel_mul_conv(context).sigmoid()
        return x if self.channel_add_conv is None else x + self.channel_add_conv(context)


def transform(channels: int, hidden: int) -> nn.Sequential:
    """Bottleneck on (N, channels, 1, 1)."""
    return nn.Sequential(
        FastConv2d(channels, hidden, 1),
        nn.LayerNorm([hidden, 1, 1]),
        nn.ReLU(inplace=True),
        FastConv2d(hidden, channels, 1),
    )
