"""Encodings of where a cell or a box lies (Carion et al., DETR, 2020, appendix A.4)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class SinePositionalEncoding(nn.Module):
    """Sines and cosines of a cell's coordinates, counted over the image without its padding.

    num_feats: channels per coordinate. normalize: coordinates from 0 to `scale` over the image instead of in cells.
    offset: added to the coordinate in front of the normalization, in cells.
    """

    def __init__(
        self,
        num_feats: int,
        temperature: int = 10000,
        normalize: bool = False,
        scale: float = 2 * math.pi,
        eps: float = 1e-6,
        offset: float = 0.0,
    ) -> None:
        super().__init__()
        self.num_feats, self.temperature, self.normalize = num_feats, temperature, normalize
        self.scale, self.eps, self.offset = scale, eps, offset

    def forward(self, padding: Tensor) -> Tensor:
        """Positions (N, 2 * num_feats, H, W), y's channels first. padding: (N, H, W) bool, True outside the image."""
        inside = (~padding).float()
        y, x = inside.cumsum(1), inside.cumsum(2)
        if self.normalize:
            y = (y + self.offset) / (y[:, -1:] + self.eps) * self.scale
            x = (x + self.offset) / (x[:, :, -1:] + self.eps) * self.scale
        waves = [sinusoids(coordinate, self.num_feats, self.temperature) for coordinate in (y, x)]
        return torch.cat(waves, dim=-1).permute(0, 3, 1, 2)


def sinusoids(x: Tensor, channels: int, temperature: int = 10000) -> Tensor:
    """Coordinates (...) as (..., channels): sine and cosine in turn, at falling frequencies."""
    index = torch.arange(channels, dtype=torch.float32, device=x.device)
    angles = x[..., None] / temperature ** (2 * (index // 2) / channels)
    return torch.stack([angles[..., 0::2].sin(), angles[..., 1::2].cos()], dim=-1).flatten(-2)


def box_sinusoids(boxes: Tensor, channels: int) -> Tensor:
    """Points (..., 2) or boxes (..., 4) cxcywh in [0, 1] as (..., 2 or 4 times `channels`), y's channels before x's."""
    waves = sinusoids(boxes * (2 * math.pi), channels)
    x, y, *size = waves.unbind(-2)
    return torch.cat([y, x, *size], dim=-1)
