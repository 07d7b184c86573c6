"""What attention samples from several maps, on a CPU, as weighted sums of rows.

With the numbers of a head in a cell together, the maps of all levels are a table with a row per cell and head. What a
head of a query gathers is the weighted sum of four rows for each of its points.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor

from zoo.models.layers.memory_format import eager_on_cpu
from zoo.models.layers.sampled_rows import MOST_CELLS, corners, sums

# Queries at a time: what is computed in between stays in the processor's cache.
QUERIES = 512


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
    result, size = value.new_empty(batch, queries * heads, value.shape[-1]), (-1, 4 * levels * points)
    for image, table in enumerate(value.flatten(1, 2)):
        chunks = (x[image].flatten(1, 3).split(QUERIES) for x in (locations, weights))
        parts = result[image].split(QUERIES * heads)
        for part, points_of, shares in zip(parts, *chunks):
            rows, of_rows = around(points_of, shares, places, heads)
            part.copy_(sums(table, rows.view(size), of_rows.view(size)))
    return result.view(batch, queries, -1)


def places_of(shapes: Sequence[tuple[int, int]], heads: int, points: int, like: Tensor) -> Places:
    """The places for maps of `shapes` (h, w)."""
    begins = accumulate((h * w for h, w in shapes[:-1]), initial=0)
    levels = [like.new_tensor(line).repeat_interleave(points).repeat(heads) for line in (*zip(*shapes), tuple(begins))]
    height, width, begin = levels
    head = torch.arange(heads, dtype=torch.int32, device=like.device).repeat_interleave(len(shapes) * points)
    return Places(width, height, begin, head[:, None])


def around(points: Tensor, shares: Tensor, places: Places, heads: int) -> tuple[Tensor, Tensor]:
    """The four rows around each point and their weights, both (Q, K, 4). points: (Q, K, 2). shares: (Q, K)."""
    x, y = points.unbind(-1)
    x, y = x * places.width - 0.5, y * places.height - 0.5
    cells, weights = corners(x, y, shares, places.width, places.height)
    return cells.add_(places.begin[:, None]).int().mul_(heads).add_(places.head), weights
