"""Multi-scale deformable attention (Zhu et al., Deformable DETR, 2021, section 4.1)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.constants import extents
from zoo.models.transformer.attention_rows import is_table, sum_rows


class MultiScaleDeformableAttention(nn.Module):
    """Each query looks at `num_points` sampled points per head and level, around its reference points."""

    def __init__(
        self,
        embed_dims: int = 256,
        num_heads: int = 8,
        num_levels: int = 4,
        num_points: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.embed_dims, self.num_heads = embed_dims, num_heads
        self.num_levels, self.num_points = num_levels, num_points
        self.dropout = nn.Dropout(dropout)
        samples = num_heads * num_levels * num_points
        self.sampling_offsets = nn.Linear(embed_dims, samples * 2)
        self.attention_weights = nn.Linear(embed_dims, samples)
        self.value_proj = nn.Linear(embed_dims, embed_dims)
        self.output_proj = nn.Linear(embed_dims, embed_dims)
        self.init_weights()

    def init_weights(self) -> None:
        """Equal weights, and offsets that start as rays: one direction per head, one distance per point."""
        for layer in (self.sampling_offsets, self.attention_weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.value_proj, self.output_proj):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        angle = torch.arange(self.num_heads) * (2 * math.pi / self.num_heads)
        rays = torch.stack([angle.cos(), angle.sin()], dim=-1)
        rays = (rays / rays.abs().amax(dim=-1, keepdim=True))[:, None, None].repeat(1, self.num_levels, 1, 1)
        distances = torch.arange(1, self.num_points + 1)[:, None]
        with torch.no_grad():
            self.sampling_offsets.bias.copy_((rays * distances).flatten())

    def forward(
        self,
        query: Tensor,
        value: Tensor,
        reference_points: Tensor,
        shapes: Sequence[tuple[int, int]],
        identity: Tensor | None = None,
        query_pos: Tensor | None = None,
        key_padding_mask: Tensor | None = None,
    ) -> Tensor:
        """Attended values plus the shortcut, (N, Q, C).

        query: (N, Q, C). value: (N, S, C), all levels behind each other. reference_points: (N, Q, num_levels, 2) as
        x, y in [0, 1], or (N, Q, num_levels, 4) as cx, cy, w, h. shapes: (h, w) of each level. identity: what the
        shortcut carries, the query if not given. key_padding_mask: (N, S) bool, True for cells to ignore.
        """
        identity = query if identity is None else identity
        query = query if query_pos is None else query + query_pos
        value = self.value_proj(value)
        if key_padding_mask is not None:
            value = value.masked_fill(key_padding_mask[..., None], 0.0)
        locations, weights = self.sampling(query, reference_points, shapes)
        out = sample_levels(value.unflatten(-1, (self.num_heads, -1)), shapes, locations, weights)
        return identity + self.dropout(self.output_proj(out))

    def sampling(
        self, query: Tensor, reference_points: Tensor, shapes: Sequence[tuple[int, int]]
    ) -> tuple[Tensor, Tensor]:
        """Points (N, Q, heads, levels, points, 2) as x, y in [0, 1], and their weights without the last axis."""
        layout = (self.num_heads, self.num_levels, self.num_points)
        offsets = self.sampling_offsets(query).unflatten(-1, (*layout, 2))
        weights = self.attention_weights(query).unflatten(-1, (self.num_heads, -1)).softmax(-1)
        points = reference_points[:, :, None, :, None]
        if points.shape[-1] == 2:
            # Repeated for each point, since a division by a tensor of few numbers is slow on a CPU.
            offsets = offsets / extents(shapes, query)[:, None].repeat(1, self.num_points, 1)
        else:
            offsets = offsets / self.num_points * points[..., 2:] * 0.5
        return points[..., :2] + offsets, weights.unflatten(-1, layout[1:])


def sample_levels(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of bilinear samples of several maps, zero outside.

    value: (N, S, heads, D), the maps of `shapes` (h, w) flattened behind each other. locations: (N, Q, heads, levels,
    points, 2) as x, y in [0, 1] from a map's corner to its opposite corner. weights: the same without the last axis.
    Returns (N, Q, heads * D).
    """
    sample = sum_rows if is_table(value, locations, weights) else sample_maps
    return sample(value, shapes, locations, weights)


def sample_maps(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """The same, map by map."""
    batch, queries, heads = locations.shape[:3]
    total = value.new_zeros(batch * heads, value.shape[-1], queries)
    grids = (2 * locations - 1).transpose(1, 2).flatten(0, 1)
    shares = weights.transpose(1, 2).flatten(0, 1)
    for level, part in enumerate(value.split([h * w for h, w in shapes], dim=1)):
        maps = part.permute(0, 2, 3, 1).flatten(0, 1).unflatten(-1, shapes[level])
        samples = F.grid_sample(maps, grids[:, :, level], align_corners=False)
        total = total + (samples * shares[:, None, :, level]).sum(-1)
    return total.unflatten(0, (batch, heads)).flatten(1, 2).transpose(1, 2)
