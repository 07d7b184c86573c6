"""RoI align on a CPU, as weighted sums of rows.

With the channels of a cell together, a map is a table with a row per cell, and a bin of a region is a weighted sum of
the few rows around its samples. Where n samples lie at most one cell apart, as those of adaptive RoI align always do,
they touch n + 1 cells per direction, whose weights add up beforehand; farther apart they touch 2 n.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# So many weights at a time, which bounds the memory that they take.
WEIGHTS = 1 << 21


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
    pooled = features.new_zeros(len(rois), output_size[0] * output_size[1], channels)
    ways = sampling(bins, sampling_ratio) * extent.isfinite().all(dim=1, keepdim=True)
    for down, across in ways.unique(dim=0).tolist():
        if not down or not across:
            continue  # a region without area, or whose corners are no numbers, has no samples
        chosen = (ways == ways.new_tensor([down, across])).all(dim=1).nonzero().squeeze(1)
        for index in chosen.split(max(1, WEIGHTS // (pooled.shape[1] * cells_of(down) * cells_of(across)))):
            rows, row_weights = along(start[index, 0], bins[index, 0], output_size[0], down, size[0])
            columns, column_weights = along(start[index, 1], bins[index, 1], output_size[1], across, size[1])
            first = rois[index, 0].long()[:, None, None] * size[0]
            pooled[index] = sums(table, (first + rows) * size[1], row_weights, columns, column_weights)
    return pooled.view(len(rois), *output_size, channels).permute(0, 3, 1, 2)


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


def sums(table: Tensor, rows: Tensor, row_weights: Tensor, columns: Tensor, column_weights: Tensor) -> Tensor:
    """Weighted sums (M, h * w, C) of rows of a table (R, C), a row for each pair of a map's row and column.

    rows: (M, h, K), where the map's rows begin in the table. columns: (M, w, L). The weights have the same shapes.
    """
    index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
    weights = row_weights[:, :, None, :, None] * column_weights[:, None, :, None, :]
    index, weights = index.flatten(3).flatten(0, 2), weights.flatten(3).flatten(0, 2)
    return F.embedding_bag(index, table, per_sample_weights=weights, mode="sum").view(len(rows), -1, table.shape[1])
