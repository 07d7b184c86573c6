"""Generalized attention (Zhu et al., An Empirical Study of Spatial Attention Mechanisms, 2019)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from zoo.errors import BuildError

WAVE_LENGTH = 1000.0


class GeneralizedAttention(nn.Module):
    """Attention over a feature map, whose energy has up to four terms.

    attention_type: four flags; "query content and key content", "query content and relative position", "key content
    only", "relative position only". kv_stride: keys and values are every so manieth pixel. spatial_range: -1, keys
    are taken from the whole map. The output is added to the input times `gamma`, which starts at zero.
    """

    def __init__(
        self,
        in_channels: int,
        spatial_range: int = -1,
        num_heads: int = 9,
        kv_stride: int = 2,
        attention_type: str = "1111",
    ) -> None:
        super().__init__()
        if spatial_range >= 0:
            raise BuildError("GeneralizedAttention: only spatial_range -1, attention to the whole map, is available")
        self.num_heads, self.kv_stride, self.position_channels = num_heads, kv_stride, in_channels // 2
        self.content_content, self.content_position, self.key_content, self.position = (
            flag == "1" for flag in attention_type
        )
        self.head_channels = in_channels // num_heads
        width = self.head_channels * num_heads
        self.value_conv = nn.Conv2d(in_channels, width, 1, bias=False)
        self.proj_conv = nn.Conv2d(width, in_channels, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        if self.content_content or self.content_position:
            self.query_conv = nn.Conv2d(in_channels, width, 1, bias=False)
        if self.content_content or self.key_content:
            self.key_conv = nn.Conv2d(in_channels, width, 1, bias=False)
        if self.content_position or self.position:
            self.appr_geom_fc_x = nn.Linear(self.position_channels, width, bias=False)
            self.appr_geom_fc_y = nn.Linear(self.position_channels, width, bias=False)
        bound = 1 / math.sqrt(2 * self.head_channels)
        if self.key_content:
            self.appr_bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))
        if self.position:
            self.geom_bias = nn.Parameter(torch.empty(width).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to the same."""
        keys = x[:, :, :: self.kv_stride, :: self.kv_stride]
        attention = self.energy(x, keys).softmax(dim=3)
        out = attention @ self.heads(self.value_conv(keys))
        height, width = x.shape[2:] if out.shape[2] > 1 else (1, 1)
        out = out.transpose(2, 3).reshape(x.shape[0], self.num_heads * self.head_channels, height, width)
        return self.gamma * self.proj_conv(out) + x

    def energy(self, x: Tensor, keys: Tensor) -> Tensor:
        """(N, heads, H * W, H' * W') of queries in `x` (N, C, H, W) and `keys` (N, C, H', W').

        Without a term that depends on the query, (N, heads, 1, H' * W').
        """
        query = self.heads(self.query_conv(x)) if self.content_content or self.content_position else x.new_zeros(1)
        terms = []
        if self.content_content or self.key_content:
            content = self.query_side(query, self.content_content, self.key_content, "appr_bias")
            terms.append(content @ self.heads(self.key_conv(keys)).transpose(2, 3))
        if self.content_position or self.position:
            content = self.query_side(query, self.content_position, self.position, "geom_bias")
            terms.append(self.position_energy(content, x.shape[2:], keys.shape[2:]))
        return terms[0] if len(terms) == 1 else terms[0] + terms[1]

    def query_side(self, query: Tensor, content: bool, biased: bool, bias: str) -> Tensor:
        """The query's content, a learned bias, or their sum: (N or 1, heads, H * W or 1, head_channels)."""
        if not biased:
            return query
        vector: Tensor = getattr(self, bias).view(1, self.num_heads, 1, -1)
        return query + vector if content else vector

    def position_energy(self, query: Tensor, size: torch.Size, key_size: torch.Size) -> Tensor:
        """(N or 1, heads, H * W, H' * W') of `query` (N or 1, heads, H * W or 1, c) and relative positions."""
        grid = size if query.shape[2] > 1 else (1, 1)
        query = query.unflatten(2, grid).expand(-1, -1, *size, -1)
        across = self.position_features(self.appr_geom_fc_x, size[1], key_size[1], query)
        down = self.position_features(self.appr_geom_fc_y, size[0], key_size[0], query)
        energy_x = torch.einsum("nhyxc,xkhc->nhyxk", query, across)
        # Networks without the position term (GRoIE) were trained with rows and columns of the query swapped here; this
        # needs square maps.
        query = query if self.position else query.transpose(2, 3)
        energy_y = torch.einsum("nhyxc,ykhc->nhyxk", query, down)
        return (energy_x[..., None, :] + energy_y[..., :, None]).flatten(4).flatten(2, 3)

    def position_features(self, linear: nn.Linear, length: int, key_length: int, like: Tensor) -> Tensor:
        """Features (length, key_length, heads, c) of the distance between queries and keys along one axis."""
        query = torch.arange(length, device=like.device, dtype=like.dtype)
        key = torch.arange(key_length, device=like.device, dtype=like.dtype) * self.kv_stride
        wave = torch.arange(self.position_channels // 2, device=like.device, dtype=like.dtype)
        angle = (query[:, None] - key)[..., None] / WAVE_LENGTH ** (2 / self.position_channels * wave)
        features = linear(torch.cat((angle.sin(), angle.cos()), dim=2)) / math.sqrt(2)
        return features.unflatten(2, (self.num_heads, self.head_channels))

    def heads(self, x: Tensor) -> Tensor:
        """(N, heads * c, H, W) to (N, heads, H * W, c)."""
        return x.flatten(2).unflatten(1, (self.num_heads, self.head_channels)).transpose(2, 3)
