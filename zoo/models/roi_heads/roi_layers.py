"""Pooling layers for regions of interest."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.pair import pair
from zoo.models.layers.points import cell_centers, sample_regions
from zoo.models.layers.precision import at_least_float32
from zoo.models.roi_heads.roi_align_cpu import align

ROI_LAYERS = {
    "DeformRoIPoolPack": "zoo.models.roi_heads.deform_roi_pool:DeformRoIPoolPack",
    "ModulatedDeformRoIPoolPack": "zoo.models.roi_heads.deform_roi_pool:ModulatedDeformRoIPoolPack",
    "RoIAlign": "zoo.models.roi_heads.roi_layers:RoIAlign",
    "SimpleRoIAlign": "zoo.models.roi_heads.roi_layers:SimpleRoIAlign",
}


def make_roi_layer(description: Mapping[str, Any], stride: int) -> nn.Module:
    """The pooling layer `{type: ..., output_size: ..., **arguments}` for a level of so many pixels per cell."""
    arguments = dict(description)
    kind = arguments.pop("type")
    if kind not in ROI_LAYERS:
        raise BuildError(f"there is no RoI layer of type '{kind}'; known: {', '.join(ROI_LAYERS)}")
    layer: nn.Module = resolve_name(ROI_LAYERS[kind])(spatial_scale=1 / stride, **arguments)
    return layer


class RoIAlign(nn.Module):
    """Bilinear samples averaged per bin (He et al., Mask R-CNN, 2017).

    sampling_ratio: samples per bin and direction, not positive for as many as cells. aligned: pixel centers at half
    coordinates. use_torchvision has no effect: both implementations compute the same.
    """

    def __init__(
        self,
        output_size: int | tuple[int, int],
        spatial_scale: float = 1.0,
        sampling_ratio: int = 0,
        aligned: bool = True,
        use_torchvision: bool = False,
    ) -> None:
        super().__init__()
        self.output_size = pair(output_size)
        self.spatial_scale, self.sampling_ratio, self.aligned = spatial_scale, max(sampling_ratio, 0), aligned

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """(N, C, H, W) and regions (M, 5) to (M, C, h, w)."""
        precise = at_least_float32(features)
        args = (self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)
        return align(precise, rois.to(precise), *args).to(features)


class SimpleRoIAlign(nn.Module):
    """One bilinear sample at each bin's center (Kirillov et al., PointRend, 2019)."""

    def __init__(self, output_size: int | tuple[int, int], spatial_scale: float = 1.0, aligned: bool = True) -> None:
        super().__init__()
        self.output_size = pair(output_size)
        self.spatial_scale, self.aligned = spatial_scale, aligned

    def forward(self, features: Tensor, rois: Tensor) -> Tensor:
        """(N, C, H, W) and regions (M, 5) to (M, C, h, w)."""
        points = cell_centers(self.output_size, rois.device).expand(rois.shape[0], -1, 2)
        samples = sample_regions(features, rois, points, 1 / self.spatial_scale, self.aligned)
        return samples.view(rois.shape[0], features.shape[1], *self.output_size)
