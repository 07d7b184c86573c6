"""Deformable pooling of regions (Dai et al., 2017; with modulation: Zhu et al., DCNv2, 2018)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from zoo.models.layers.precision import at_least_float32
from zoo.models.priors.grid import pair


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
    bins = moved_bins(rois.to(precise), offsets.to(precise) * gamma, output_size, spatial_scale)
    bins = bins.flatten(1, 2).flatten(0, 1)
    images = rois[:, :1].repeat_interleave(output_size[0] * output_size[1], dim=0).to(bins)
    pooled = roi_align(precise, torch.cat([images, bins], dim=1), 1, 1.0, sampling_ratio, aligned=True).to(features)
    return pooled.view(len(rois), *output_size, features.shape[1]).permute(0, 3, 1, 2)


def moved_bins(rois: Tensor, offsets: Tensor, output_size: tuple[int, int], spatial_scale: float) -> Tensor:
    """Bins (M, h, w, 4) xyxy in cells of regions (M, 5) in pixels, moved by offsets (M, 2, h, w) in region sizes."""
    height, width = output_size
    corners = rois[:, 1:] * spatial_scale - 0.5
    extent = corners[:, None, None, 2:] - corners[:, None, None, :2]
    size = extent / extent.new_tensor([width, height])
    y, x = torch.meshgrid(
        torch.arange(height, device=rois.device), torch.arange(width, device=rois.device), indexing="ij"
    )
    start = corners[:, None, None, :2] + torch.stack([x, y], dim=-1) * size + offsets.permute(0, 2, 3, 1) * extent
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
        return roi_align(precise, rois.to(precise), *args, aligned=True).flatten(1).to(features)

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
