"""Features of regions of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.coders.bucketing import rescaled
from zoo.models.layers.memory_format import zero_maps
from zoo.models.layers.plugin import make_plugin
from zoo.models.layers.tracing import recording
from zoo.models.roi_heads.roi_layers import make_roi_layer


class RoIExtractor(nn.Module):
    """Base: one pooling layer per level. out_channels: of the features. featmap_strides: pixels per cell and level."""

    def __init__(self, roi_layer: Mapping[str, Any], out_channels: int, featmap_strides: Sequence[int]) -> None:
        super().__init__()
        self.out_channels, self.num_inputs = out_channels, len(featmap_strides)
        self.featmap_strides = tuple(featmap_strides)
        self.roi_layers = nn.ModuleList(make_roi_layer(roi_layer, s) for s in featmap_strides)

    @property
    def output_size(self) -> tuple[int, int]:
        """(h, w) of a region's features."""
        return self.roi_layers[0].output_size  # type: ignore[return-value]


class SingleRoIExtractor(RoIExtractor):
    """Each region is pooled from the one level that fits its size (Lin et al., FPN, 2017, equation 1).

    finest_scale: regions up to twice this size (square root of the area, pixels) come from the finest level.
    """

    def __init__(
        self,
        roi_layer: Mapping[str, Any],
        out_channels: int,
        featmap_strides: Sequence[int],
        finest_scale: int = 56,
    ) -> None:
        super().__init__(roi_layer, out_channels, featmap_strides)
        self.finest_scale = finest_scale

    def map_levels(self, rois: Tensor) -> Tensor:
        """Level index (M,) of regions (M, 5)."""
        scale = ((rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2])).sqrt()
        level = (scale / self.finest_scale + 1e-6).log2().floor()
        return level.clamp(0, self.num_inputs - 1).long()

    def forward(self, features: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Features (M, out_channels, h, w) of regions.

        features: per level (N, C, H, W), finest first; more levels than strides are ignored. rois: (M, 5) as image
        index and xyxy in input pixels. roi_scale_factor: enlarges the regions around their centers.
        """
        if self.num_inputs == 1:
            return self.roi_layers[0](features[0], rois)
        levels = self.map_levels(rois)
        if roi_scale_factor is not None:
            rois = rescale_rois(rois, roi_scale_factor)
        if recording():
            return self.recorded(features, rois, levels)
        pooled = zero_maps(rois.shape[0], self.out_channels, self.output_size, features[0])
        for i, (layer, index) in enumerate(zip(self.roi_layers, by_level(levels, self.num_inputs))):
            if len(index):
                pooled[index] = layer(features[i], rois[index]).to(pooled.dtype)
            elif features[i].requires_grad:  # distributed training waits for a gradient of every parameter
                pooled = pooled + 0 * (features[i].sum() + sum(p.sum() for p in layer.parameters()))
        return pooled

    def recorded(self, features: Sequence[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
        """The same for an exported graph: other images have regions on levels where the example has one or none."""
        members = [(levels == i).nonzero().squeeze(1) for i in range(self.num_inputs)]
        pooled = torch.cat([layer(x, rois[index]) for layer, x, index in zip(self.roi_layers, features, members)])
        order = levels * rois.shape[0] + torch.arange(rois.shape[0], device=rois.device)  # by level, then as they come
        return pooled[order.sort().indices.sort().indices]


class GenericRoIExtractor(RoIExtractor):
    """Each region is pooled from all levels (Rossi et al., GRoIE, 2020).

    aggregation: "sum" or "concat" of the levels. pre_cfg, post_cfg: plugins on each level's features and on the result.
    """

    def __init__(
        self,
        roi_layer: Mapping[str, Any],
        out_channels: int,
        featmap_strides: Sequence[int],
        aggregation: str = "sum",
        pre_cfg: Mapping[str, Any] | None = None,
        post_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(roi_layer, out_channels, featmap_strides)
        if aggregation not in ("sum", "concat"):
            raise BuildError(f"a region's levels are aggregated by sum or concat, not by '{aggregation}'")
        self.aggregation = aggregation
        self.post_module = plugin(post_cfg) if post_cfg else None
        self.pre_module = plugin(pre_cfg) if pre_cfg else None

    def forward(self, features: Sequence[Tensor], rois: Tensor, roi_scale_factor: float | None = None) -> Tensor:
        """Features (M, out_channels, h, w) of regions.

        features: per level (N, C, H, W), finest first; more levels than strides are ignored. rois: (M, 5) as image
        index and xyxy in input pixels. roi_scale_factor: enlarges the regions around their centers.
        """
        if self.num_inputs == 1:
            return self.roi_layers[0](features[0], rois)
        if roi_scale_factor is not None:
            rois = rescale_rois(rois, roi_scale_factor)
        pooled = [layer(x, rois) for layer, x in zip(self.roi_layers, features)]
        if self.pre_module is not None:
            pooled = [self.pre_module(x) for x in pooled]
        total = torch.cat(pooled, dim=1) if self.aggregation == "concat" else torch.stack(pooled).sum(dim=0)
        return total if self.post_module is None else self.post_module(total)


def by_level(levels: Tensor, count: int) -> Sequence[Tensor]:
    """Indices of the regions of each of `count` levels. levels: (M,).

    A GPU must be waited for where the host learns how many these are: once, not level by level.
    """
    counts = (levels[:, None] == torch.arange(count, device=levels.device)).sum(dim=0).tolist()
    order = levels.argsort(stable=True)
    return order[len(order) - sum(counts) :].split(counts)  # regions whose area is not a number come first


def plugin(description: Mapping[str, Any]) -> nn.Module:
    """The plugin `{type: ..., in_channels: ..., **arguments}`."""
    arguments = dict(description)
    return make_plugin(arguments, arguments.pop("in_channels"))[1]


def rois_of(boxes: Sequence[Tensor]) -> Tensor:
    """Regions (M, 5), image index and xyxy, of boxes (M_i, 4) per image."""
    return torch.cat([torch.cat([torch.full_like(b[:, :1], i), b], dim=1) for i, b in enumerate(boxes)])


def rescale_rois(rois: Tensor, factor: float) -> Tensor:
    """Regions (M, 5) enlarged around their centers."""
    return torch.cat([rois[:, :1], rescaled(rois[:, 1:], factor)], dim=1)
