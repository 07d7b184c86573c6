"""Bilinear samples of several maps on a CPU, as weighted sums of rows.

With the numbers of a head in a cell together, the maps of all levels are a table with a row per cell and head. What a
head of a query gathers is the weighted sum of four rows for each of its points.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.memory_format import eager_on_cpu

# Queries at a time: what is computed in between stays in the processor's cache.
QUERIES = 512
# Cells that are numbered exactly in float32.
MOST_CELLS = 1 << 24


class Places(NamedTuple):
    """Where the points of a query lie, those of one head after the other; each (heads * levels * points,).

    width, height: of a point's map, in cells. begin: the map's first cell. head: the point's head, int32.
    """

    width: Tensor
    height: Tensor
    begin: Tensor
    head: Tensor


def is_table(value: Tensor, locations: Tensor, weights: Tensor) -> bool:
    """Whether samples of `value` (N, S, heads, D) are computed as sums of rows: in inference, float32, on a CPU."""
    return all(map(eager_on_cpu, (value, locations, weights))) and value.shape[1] <= MOST_CELLS


def sum_rows(value: Tensor, shapes: Sequence[tuple[int, int]], locations: Tensor, weights: Tensor) -> Tensor:
    """What `sample_levels` returns, (N, Q, heads * D), of the same arguments."""
    batch, queries, heads, levels, points = weights.shape
    places = places_of(shapes, heads, points, value)
    sums, size = value.new_empty(batch, queries * heads, value.shape[-1]), (-1, 4 * levels * points)
    for image, table in enumerate(value.flatten(1, 2)):
        chunks = (x[image].flatten(1, 3).split(QUERIES) for x in (locations, weights))
        parts = sums[image].split(QUERIES * heads)
        for part, points_of, shares in zip(parts, *chunks):
            rows, of_rows = around(points_of, shares, places, heads)
            part.copy_(F.embedding_bag(rows.view(size), table, per_sample_weights=of_rows.view(size), mode="sum"))
    return sums.view(batch, queries, -1)


def places_of(shapes: Sequence[tuple[int, int]], heads: int, points: int, like: Tensor) -> Places:
    """The places for maps of `shapes` (h, w)."""
    begins = accumulate((h * w for h, w in shapes[:-1]), initial=0)
    levels = [like.new_tensor(line).repeat_interleave(points).repeat(heads) for line in (*zip(*shapes), tuple(begins))]
    height, width, begin = levels
    head = torch.arange(heads, dtype=torch.int32).repeat_interleave(len(shapes) * points)
    return Places(width, height, begin, head[:, None])


def around(points: Tensor, shares: Tensor, places: Places, heads: int) -> tuple[Tensor, Tensor]:
    """The four rows around each point and their weights, both (Q, K, 4). points: (Q, K, 2). shares: (Q, K)."""
    x, y = points.unbind(-1)
    left, right, of_left, of_right = neighbors(x * places.width - 0.5, places.width)
    top, bottom, of_top, of_bottom = neighbors(y * places.height - 0.5, places.height)
    top, bottom = (line.mul_(places.width).add_(places.begin) for line in (top, bottom))
    cells = torch.stack([top + left, top + right, bottom + left, bottom + right], dim=-1)
    of_top, of_bottom = of_top * shares, of_bottom * shares
    weights = [of_top * of_left, of_top * of_right, of_bottom * of_left, of_bottom * of_right]
    return cells.int().mul_(heads).add_(places.head), torch.stack(weights, dim=-1)


def neighbors(position: Tensor, size: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The cells before and behind positions on a line, clamped to it, and their weights, zero outside of it.

    position: (Q, K) in cells; of what is no number, the weight is none either. size: (K,), cells of the line.
    """
    position = torch.minimum(position.clamp_(min=-1), size)
    before = position.floor().nan_to_num_(nan=-1)
    behind, part, last = before + 1, position - before, size - 1
    of_before = torch.where((before < 0) | (before > last), 0 * part, 1 - part)
    of_behind = torch.where(behind > last, 0 * part, part)
    return before.clamp_(min=0).minimum(last), behind.minimum(last), of_before, of_behind
