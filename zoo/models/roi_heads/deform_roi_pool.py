"""Deformable pooling of regions (Dai et al., 2017; with modulation: Zhu et al., DCNv2, 2018)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.constants import constant
from zoo.models.layers.pair import pair
from zoo.models.layers.precision import at_least_float32
from zoo.models.roi_heads.roi_align_cpu import align


def deform_roi_pool(
    features: Tensor,
    rois: Tensor,
    offsets: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float = 1.0,
    sampling_ratio: int = 0,
    gamma: float = 0.1,
) -> Tensor:
    """Features (M, C, h, w) of regions whose bins are moved: `roi_align` with each bin as a region of its own.

    features: (N, C, H, W). rois: (M, 5) as image index and xyxy in pixels, `spatial_scale` cells each. offsets:
    (M, 2, h, w) as x and y, in `gamma` times the region's size. sampling_ratio: samples per bin and direction, 0 for as
    many as cells.
    """
    precise = at_least_float32(features)
    if torch.is_grad_enabled() and offsets.requires_grad:
        args = (rois.to(precise), offsets.to(precise) * gamma, output_size, spatial_scale, sampling_ratio)
        return sampled_bins(precise, *args).to(features)
    bins = moved_bins(rois.to(precise), offsets.to(precise) * gamma, output_size, spatial_scale)
    bins = bins.flatten(1, 2).flatten(0, 1)
    images = rois[:, :1].repeat_interleave(output_size[0] * output_size[1], dim=0).to(bins)
    pooled = align(precise, torch.cat([images, bins], dim=1), (1, 1), 1.0, sampling_ratio).to(features)
    return pooled.view(len(rois), *output_size, features.shape[1]).permute(0, 3, 1, 2)


def sampled_bins(
    features: Tensor,
    rois: Tensor,
    offsets: Tensor,
    output_size: tuple[int, int],
    spatial_scale: float,
    sampling_ratio: int,
) -> Tensor:
    """The same features by sampling, for training: `roi_align` has no derivative with respect to its regions.

    offsets: (M, 2, h, w) as x and y, in region sizes. Regions of one image with bins of as many samples are done
    together.
    """
    start, size = bin_corners(rois, offsets, output_size, spatial_scale)
    counts = torch.full_like(size, sampling_ratio) if sampling_ratio > 0 else size.detach().ceil()
    kinds = torch.cat([rois[:, :1], counts[:, 0, 0]], dim=1).long()
    out = features.new_zeros(len(rois), features.shape[1], *output_size)
    for kind in kinds.unique(dim=0):
        image, nx, ny = kind.tolist()
        if nx > 0 and ny > 0:
            index = (kinds == kind).all(dim=1).nonzero().flatten()
            points = sample_positions(start[index], size[index], nx, ny)
            sampled = bilinear_samples(features[image], points.flatten(0, 3))
            out = out.index_copy(0, index, sampled.view(-1, *points.shape[:4]).mean(dim=4).transpose(0, 1))
    return out


def sample_positions(start: Tensor, size: Tensor, nx: int, ny: int) -> Tensor:
    """Centers (M, h, w, ny * nx, 2), as x and y, of the equal parts of bins at `start` (M, h, w, 2) of `size`."""
    y, x = (torch.arange(count, device=start.device) for count in (ny, nx))
    y, x = torch.meshgrid(y, x, indexing="ij")
    centers = (torch.stack([x, y], dim=-1).flatten(0, 1).to(start) + 0.5) / constant((nx, ny), start)
    return start[..., None, :] + centers * size[..., None, :]


def bilinear_samples(x: Tensor, points: Tensor) -> Tensor:
    """Samples (C, P) of a map (C, H, W) at points (P, 2), x and y in cells: the border counts up to one cell outside,
    beyond it is zero."""
    extent = constant((x.shape[2], x.shape[1]), points)
    inside = ((points >= -1) & (points <= extent)).all(dim=-1)
    grid = (2 * points / (extent - 1).clamp(min=1) - 1)[None, None]
    sampled = F.grid_sample(x[None], grid, mode="bilinear", padding_mode="border", align_corners=True)
    return sampled[0, :, 0] * inside


def bin_corners(
    rois: Tensor, offsets: Tensor, output_size: tuple[int, int], spatial_scale: float
) -> tuple[Tensor, Tensor]:
    """Upper left corners (M, h, w, 2) and sizes (M, 1, 1, 2) of moved bins, as x and y in cells from centers of cells.

    rois: (M, 5) in pixels. offsets: (M, 2, h, w) in region sizes.
    """
    height, width = output_size
    corners = rois[:, 1:] * spatial_scale - 0.5
    extent = corners[:, None, None, 2:] - corners[:, None, None, :2]
    size = extent / constant((width, height), extent)
    y, x = torch.meshgrid(
        torch.arange(height, device=rois.device), torch.arange(width, device=rois.device), indexing="ij"
    )
    moved = torch.stack([x, y], dim=-1) * size + offsets.permute(0, 2, 3, 1) * extent
    return corners[:, None, None, :2] + moved, size


def moved_bins(rois: Tensor, offsets: Tensor, output_size: tuple[int, int], spatial_scale: float) -> Tensor:
    """Bins (M, h, w, 4) xyxy in cells of regions (M, 5) in pixels, moved by offsets (M, 2, h, w) in region sizes."""
    start, size = bin_corners(rois, offsets, output_size, spatial_scale)
    return torch.cat([start + 0.5, end_of(start + 0.5, size)], dim=-1)


def end_of(start: Tensor, size: Tensor) -> Tensor:
    """`start + size`, rounded such that `roi_align` finds as many cells in between as in `size`.

    Regions cut at the image's border often have bins of a whole number of cells; a bin that rounding makes longer by
    the last bit would get one more sample.
    """
    end = start + size
    count = ((end - 0.5) - (start - 0.5)).ceil()
    down, up = torch.nextafter(end, end - 1), torch.nextafter(end, end + 1)
    end = torch.where(count > size.ceil(), down, end)
    return torch.where(count < size.ceil(), up, end)


class DeformRoIPoolPack(nn.Module):
    """`RoIAlign` whose bins are moved by offsets that linear layers predict from the unmoved ones.

    output_channels: of the features. deform_fc_channels: of the linear layers. gamma: scale of the offsets.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        output_channels: int,
        deform_fc_channels: int = 1024,
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        gamma: float = 0.1,
    ) -> None:
        super().__init__()
        self.output_size = pair(output_size)
        self.spatial_scale, self.sampling_ratio, self.gamma = spatial_scale, sampling_ratio, gamma
        bins = self.output_size[0] * self.output_size[1]
        self.offset_fc = nn.Sequential(
            nn.Linear(bins * output_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, bins * 2),
        )
        nn.init.zeros_(self.offset_fc[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.offset_fc[-1].bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """(N, C, H, W) and regions (M, 5) to (M, C, h, w)."""
        return self.pool(features, rois, self.rigid(features, rois))

    def rigid(self, features: Tensor, rois: Tensor) -> Tensor:
        """Features (M, C * h * w) of the unmoved bins."""
        precise, args = at_least_float32(features), (self.output_size, self.spatial_scale, self.sampling_ratio)
        return align(precise, rois.to(precise), *args).flatten(1).to(features)

    def pool(self, features: Tensor, rois: Tensor, rigid: Tensor) -> Tensor:
        """Features (M, C, h, w) of the moved bins."""
        offsets = self.offset_fc(rigid).view(len(rois), 2, *self.output_size)
        args = (self.output_size, self.spatial_scale, self.sampling_ratio, self.gamma)
        return deform_roi_pool(features, rois, offsets, *args)


class ModulatedDeformRoIPoolPack(DeformRoIPoolPack):
    """Deformable pooling whose bins are also weighted, by factors in (0, 1)."""

    def __init__(
        self, output_size: int | tuple[int, int], output_channels: int, deform_fc_channels: int = 1024, **kwargs: float
    ) -> None:
        super().__init__(output_size, output_channels, deform_fc_channels, **kwargs)  # type: ignore[arg-type]
        bins = self.output_size[0] * self.output_size[1]
        self.mask_fc = nn.Sequential(
            nn.Linear(bins * output_channels, deform_fc_channels),
            nn.ReLU(inplace=True),
            nn.Linear(deform_fc_channels, bins),
            nn.Sigmoid(),
        )
        nn.init.zeros_(self.mask_fc[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.mask_fc[2].bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """(N, C, H, W) and regions (M, 5) to (M, C, h, w)."""
        rigid = self.rigid(features, rois)
        return self.pool(features, rois, rigid) * self.mask_fc(rigid).view(len(rois), 1, *self.output_size)
