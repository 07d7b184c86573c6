"""Features at points of a map (Kirillov et al., PointRend, 2019)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.constants import extents
from zoo.models.layers.precision import at_least_float32
from zoo.models.layers.tracing import recording


def sample_points(features: Tensor, points: Tensor, align_corners: bool = False) -> Tensor:
    """Bilinear samples (N, C, P), zero outside.

    features: (N, C, H, W). points: (N, P, 2) as x, y from 0 to 1 over the map.
    """
    precise = at_least_float32(features)
    grid = points[:, :, None].to(precise) * 2 - 1
    return F.grid_sample(precise, grid, align_corners=align_corners)[..., 0].to(features)


def sample_regions(features: Tensor, rois: Tensor, points: Tensor, stride: float, aligned: bool = True) -> Tensor:
    """Samples (M, C, P) at points of regions.

    features: (N, C, H, W) of `stride` pixels per cell. rois: (M, 5) as image index and xyxy in pixels.
    points: (M, P, 2) as x, y from 0 to 1 over the region.
    """
    height, width = features.shape[-2:]
    pixels = points * (rois[:, None, 3:] - rois[:, None, 1:3]) + rois[:, None, 1:3]
    relative = pixels / (extents([(height, width)], pixels) * stride)
    if recording():  # a graph has one image, and maybe no region
        return sample_image(features, relative, aligned)
    samples = features.new_zeros(len(rois), features.shape[1], points.shape[1])
    for i in range(len(features)):
        index = (rois[:, 0] == i).nonzero().squeeze(1)
        if len(index):
            samples[index] = sample_image(features[i : i + 1], relative[index], aligned)
    return samples


def sample_image(features: Tensor, points: Tensor, aligned: bool) -> Tensor:
    """Samples (M, C, P) of one map (1, C, H, W) at points (M, P, 2), x, y from 0 to 1 over the map."""
    result = sample_points(features, points.view(1, -1, 2), not aligned)
    return result.view(features.shape[1], points.shape[0], points.shape[1]).transpose(0, 1)


def cell_centers(size: tuple[int, int], device: torch.device | str) -> Tensor:
    """Centers (h * w, 2), as x, y from 0 to 1, of the cells of a grid of (h, w), row by row."""
    y = (torch.arange(size[0], device=device) + 0.5) / size[0]
    x = (torch.arange(size[1], device=device) + 0.5) / size[1]
    return torch.stack([x.repeat(size[0]), y.repeat_interleave(size[1])], dim=-1)
