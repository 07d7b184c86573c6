"""Bilinear samples of maps on a CPU, as weighted sums of rows of a table.

With the numbers of a cell together, a map is a table with a row per cell, and a sample is the weighted sum of four
rows, for which PyTorch has a vectorized operator. To read each number from a plane of its own takes several times as
long.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Cells of a map that are numbered exactly in float32.
MOST_CELLS = 1 << 24


def corners(x: Tensor, y: Tensor, shares: Tensor | None, width: Tensor, height: Tensor) -> tuple[Tensor, Tensor]:
    """The four cells around each point and their weights in its sample, zero outside the map; both (Q, K, 4).

    x, y: (Q, K), in cells from the center of the first; they are overwritten. shares: (Q, K), factors of the samples.
    width, height: of the map, one or (K,). The cells are float32 and numbered row by row.
    """
    left, right, of_left, of_right = neighbors(x, width)
    top, bottom, of_top, of_bottom = neighbors(y, height)
    if shares is not None:
        of_top, of_bottom = of_top * shares, of_bottom * shares
    top, bottom = top * width, bottom * width
    weights = [of_top * of_left, of_top * of_right, of_bottom * of_left, of_bottom * of_right]
    return torch.stack([top + left, top + right, bottom + left, bottom + right], dim=-1), torch.stack(weights, dim=-1)


def neighbors(position: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The cells before and behind positions on a line, clamped to it, and their weights, zero outside of it.

    position: (Q, K) in cells; of what is no number, the weight is none either. size: cells of the line, one or (K,).
    """
    position = torch.minimum(position.clamp_(min=-1), size)
    before = position.floor().nan_to_num_(nan=-1)
    behind, part, last = before + 1, position - before, size - 1
    of_before = torch.where((before < 0) | (before > last), 0 * part, 1 - part)
    of_behind = torch.where(behind > last, 0 * part, part)
    return before.clamp_(min=0).minimum(last), behind.minimum(last), of_before, of_behind


def sums(table: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums (B, D) of rows of a table (R, D). rows, weights: (B, K)."""
    return F.embedding_bag(rows, table, per_sample_weights=weights, mode="sum")
