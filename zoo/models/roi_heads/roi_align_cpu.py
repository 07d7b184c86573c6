"""RoI align on a CPU, as weighted sums of rows.

With the channels of a cell together, a map is a table with a row per cell, and a bin of a region is a weighted sum of
the few rows around its samples. Where n samples lie at most one cell apart, as those of adaptive RoI align always do,
they touch n + 1 cells per direction, whose weights add up beforehand; farther apart they touch 2 n.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.memory_format import plain_on_cpu
from zoo.models.layers.vision_operators import roi_align

# So many weights at a time, which bounds the memory that they take; training keeps all of them anyway.
WEIGHTS = 1 << 21


def align(
    features: Tensor,
    rois: Tensor,
    output_size: tuple[int, int],
    scale: float,
    sampling_ratio: int,
    aligned: bool = True,
) -> Tensor:
    """What `torchvision.ops.roi_align` gives, (M, C, h, w), by `align_rows` where that can be.

    As there, nothing is learned about the regions: `align_rows` alone would have a gradient for them.
    """
    pool = align_rows if plain_on_cpu(features) else roi_align
    pooled: Tensor = pool(features, rois.detach(), output_size, scale, sampling_ratio, aligned)
    return pooled


class Bins(NamedTuple):
    """What the bins of some regions are sums of: rows of a table with weights.

    regions: (R,) indices. rows, weights: (E,), those of one bin after the other. begins: (R * bins,), where those of
    each bin begin.
    """

    regions: Tensor
    rows: Tensor
    weights: Tensor
    begins: Tensor


def align_rows(
    features: Tensor, rois: Tensor, output_size: tuple[int, int], scale: float, sampling_ratio: int, aligned: bool
) -> Tensor:
    """What `torchvision.ops.roi_align` gives: (M, C, h, w), the channels of a cell together.

    features: (N, C, H, W) float32. rois: (M, 5), image index and xyxy in pixels. output_size: (h, w). scale: cells
    per pixel. sampling_ratio: samples per bin and direction, 0 for as many as cells. aligned: pixel centers at half
    coordinates; otherwise regions are at least a cell wide.
    """
    channels, size = features.shape[1], features.shape[2:]
    table = features.permute(0, 2, 3, 1).reshape(-1, channels)
    corners = rois[:, [2, 1, 4, 3]] * scale - (0.5 if aligned else 0.0)
    start, extent = corners[:, :2], corners[:, 2:] - corners[:, :2]
    bins = (extent if aligned else extent.clamp(min=1)) / extent.new_tensor(output_size)
    ways = sampling(bins, sampling_ratio) * extent.isfinite().all(dim=1, keepdim=True)
    parts: Iterable[Bins] = by_way(ways, start, bins, rois[:, 0].long(), output_size, size)
    if torch.is_grad_enabled() and features.requires_grad:
        parts = at_once(parts)
    pooled = features.new_zeros(len(rois), output_size[0] * output_size[1], channels)
    for part in parts:
        pooled.index_copy_(0, part.regions, sums(table, part).view(len(part.regions), *pooled.shape[1:]))
    return pooled.view(len(rois), *output_size, channels).permute(0, 3, 1, 2)


def by_way(
    ways: Tensor, start: Tensor, bins: Tensor, images: Tensor, output_size: tuple[int, int], size: torch.Size
) -> Iterator[Bins]:
    """The bins of all regions with samples, by how many those have.

    ways: (M, 2), what `sampling` gave. start, bins: (M, 2), yx in cells. images: (M,). size: (H, W) of the map.
    """
    for down, across in ways.unique(dim=0).tolist():
        if not down or not across:
            continue  # a region without area, or whose corners are no numbers, has no samples
        chosen = (ways == ways.new_tensor([down, across])).all(dim=1).nonzero().squeeze(1)
        per_region = output_size[0] * output_size[1] * cells_of(down) * cells_of(across)
        for index in chosen.split(max(1, WEIGHTS // per_region)):
            rows, row_weights = along(start[index, 0], bins[index, 0], output_size[0], down, size[0])
            columns, column_weights = along(start[index, 1], bins[index, 1], output_size[1], across, size[1])
            rows = (images[index, None, None] * size[0] + rows) * size[1]
            yield combined(index, rows, row_weights, columns, column_weights)


def combined(regions: Tensor, rows: Tensor, row_weights: Tensor, columns: Tensor, column_weights: Tensor) -> Bins:
    """Bins that sum over each pair of a map's row and column.

    rows: (R, h, K), where the map's rows begin in the table. columns: (R, w, L). The weights have the same shapes.
    """
    index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    begins = torch.arange(0, index.numel(), rows.shape[2] * columns.shape[2], device=rows.device)
    return Bins(regions, index.flatten(), weights.flatten(), begins)


def at_once(parts: Iterable[Bins]) -> list[Bins]:
    """The same in one part, if any: each costs a gradient of the whole map."""
    parts = list(parts)
    if len(parts) < 2:
        return parts
    before = accumulate((len(part.rows) for part in parts), initial=0)
    begins = torch.cat([part.begins + count for part, count in zip(parts, before)])
    regions, rows, weights = (torch.cat(column) for column in zip(*(part[:3] for part in parts)))
    return [Bins(regions, rows, weights, begins)]


def sums(table: Tensor, bins: Bins) -> Tensor:
    """Weighted sums (B, C) of rows of a table (R, C), one for each bin."""
    return F.embedding_bag(bins.rows, table, bins.begins, per_sample_weights=bins.weights, mode="sum")


def sampling(bins: Tensor, sampling_ratio: int) -> Tensor:
    """Samples per bin and direction, like `bins`: negative where they lie more than a cell apart. bins: in cells."""
    if not sampling_ratio:
        return bins.ceil().clamp(min=0).long()
    near = (bins >= 0) & (bins <= sampling_ratio)
    return torch.where(near, sampling_ratio, -sampling_ratio)


def cells_of(samples: int) -> int:
    """How many cells the samples of a bin touch in one direction. samples: as `sampling` counts them."""
    return samples + 1 if samples > 0 else -2 * samples


def along(start: Tensor, width: Tensor, bins: int, samples: int, size: int) -> tuple[Tensor, Tensor]:
    """Cells and their weights in one direction, each (M, bins, cells_of(samples)).

    start, width: (M,), where regions begin and how wide their bins are, in cells. samples: per bin, as `sampling`
    counts them. size: of the map.
    """
    count = abs(samples)
    step = torch.arange(count, device=start.device) + 0.5
    bin_ = torch.arange(bins, device=start.device)[:, None]
    position = start[:, None, None] + bin_ * width[:, None, None] + step * width[:, None, None] / count
    inside = ((position >= -1) & (position <= size))[..., None]
    position = position.clamp(0, size - 1)
    if samples > 0:
        cells = position[..., :1].long() + torch.arange(samples + 1, device=start.device)
        weights = (closeness(position, cells[..., None, :]) * inside).sum(dim=-2)
    else:
        pairs = position[..., None].long() + torch.arange(2, device=start.device)
        cells, weights = pairs.flatten(-2), (closeness(position, pairs) * inside).flatten(-2)
    return cells.clamp(max=size - 1), weights / count


def closeness(position: Tensor, cells: Tensor) -> Tensor:
    """The weight (..., samples, K) of cells (..., samples or 1, K) in a sample at `position` (..., samples)."""
    return (1 - (position[..., None] - cells).abs()).clamp(min=0)
