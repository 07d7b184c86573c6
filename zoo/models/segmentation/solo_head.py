"""SOLO's heads: a class and a mask for every cell of a grid over the image (Wang et al., SOLO, 2020)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.dense_heads.towers import init_dense, run, tower
from zoo.models.layers.constants import constant
from zoo.models.layers.ranking import ranked
from zoo.models.layers.tracing import recording
from zoo.models.segmentation.matrix_nms import matrix_nms
from zoo.structures import Detections, ImageGeometry

GN = {"type": "GN", "num_groups": 32}


class GridHead(nn.Module):
    """Base: classes of the cells of a square grid per level, and masks picked by cell.

    num_grids: cells per side and level. strides: smallest area of a mask per level, in mask pixels. scale_ranges,
    pos_scale: which objects train which level and cells. cls_down_index: in front of which convolution of the class
    branch the map is resized to the grid. `dcn`: convolutions (by index) of another type.

    A subclass returns mask outputs first and class logits per level (N, num_classes, grid, grid) second in `forward`,
    and picks masks in `masks`.
    """

    learns_masks = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        feat_channels: int = 256,
        stacked_convs: int = 4,
        strides: Sequence[int] = (4, 8, 16, 32, 64),
        scale_ranges: Sequence[Sequence[int]] = ((8, 32), (16, 64), (32, 128), (64, 256), (128, 512)),
        pos_scale: float = 0.2,
        num_grids: Sequence[int] = (40, 36, 24, 16, 12),
        cls_down_index: int = 0,
        norm_cfg: Mapping[str, Any] | None = GN,
        loss_mask: Mapping[str, Any] | None = None,
        loss_cls: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        dcn: Mapping[int, Mapping[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.feat_channels = num_classes, feat_channels
        self.strides, self.num_grids = tuple(strides), tuple(num_grids)
        self.scale_ranges, self.pos_scale = tuple(scale_ranges), pos_scale
        self.cls_down_index = cls_down_index
        self.loss_cfg = {"mask": loss_mask, "cls": loss_cls}
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        self.cls_convs = tower(in_channels, feat_channels, stacked_convs, norm_cfg, special=dcn)
        self.conv_cls = nn.Conv2d(feat_channels, num_classes, 3, padding=1)

    def classify(self, x: Tensor, grid: int) -> Tensor:
        """Class logits (N, num_classes, grid, grid) of one level's map (N, C, H, W)."""
        for i, conv in enumerate(self.cls_convs):
            x = conv(resize(x, (grid, grid)) if i == self.cls_down_index else x)
        return self.conv_cls(x)

    def masks(self, outputs: Any, image: int, cells: Tensor) -> Tensor:
        """Mask probabilities (K, h, w) of some cells of one image. outputs: what `forward` returned.

        cells: (K,) rising indices into the cells of all levels, row by row and level after level.
        """
        raise NotImplementedError

    def predict(self, outputs: Any, geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections with masks in output coordinates. SOLO knows no boxes: they are zero, as in the reference."""
        scores = torch.cat([peaks(x.sigmoid()).flatten(2).transpose(1, 2) for x in outputs[1]], dim=1)
        areas = torch.cat([scores.new_full((g * g,), s) for g, s in zip(self.num_grids, self.strides)])
        return [
            select(scores[i], areas, lambda cells, i=i: self.masks(outputs, i, cells), geometry, self.test_cfg)  # type: ignore[misc]
            for i, geometry in enumerate(geometries)
        ]

    def by_level(self, cells: Tensor) -> list[Tensor]:
        """The cells' indices within their level, for each level. cells: (K,), rising."""
        starts = list(accumulate((grid**2 for grid in self.num_grids), initial=0))
        if recording():
            return [cells[(cells >= start) & (cells < stop)] - start for start, stop in pairwise(starts)]
        bounds = torch.searchsorted(cells, constant(tuple(starts), cells)).tolist()
        return [cells[slice(*own)] - start for own, start in zip(pairwise(bounds), starts)]


class SOLOHead(GridHead):
    """One mask channel per cell."""

    def __init__(self, in_channels: int, stacked_convs: int = 4, norm_cfg: Any = GN, **kwargs: Any) -> None:
        super().__init__(in_channels=in_channels, stacked_convs=stacked_convs, norm_cfg=norm_cfg, **kwargs)
        channels = self.feat_channels
        self.mask_convs = tower(in_channels + 2, channels, stacked_convs, norm_cfg)
        self.conv_mask_list = nn.ModuleList(nn.Conv2d(channels, grid**2, 1) for grid in self.num_grids)
        init_dense(self, self.conv_cls, *self.conv_mask_list)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level mask logits (N, grid ** 2, 2 * h, 2 * w) and class logits (N, num_classes, grid, grid).

        features: per level (N, C, h, w), finest first.
        """
        masks, logits = [], []
        for x, grid, predict in zip(neighbors(features), self.num_grids, self.conv_mask_list):
            masks.append(predict(doubled(run(self.mask_convs, with_coordinates(x)))))
            logits.append(self.classify(x, grid))
        return masks, logits

    def masks(self, outputs: Any, image: int, cells: Tensor) -> Tensor:
        """See `GridHead.masks`."""
        size = outputs[0][0].shape[-2:]
        levels = [x[image, index] for x, index in zip(outputs[0], self.by_level(cells))]
        return torch.cat([resize(x[None].sigmoid(), size)[0] for x in levels if recording() or len(x)])


def select(
    scores: Tensor,
    areas: Tensor,
    masks_of: Callable[[Tensor], Tensor],
    geometry: ImageGeometry,
    cfg: Mapping[str, Any],
    stride: int = 4,
) -> Detections:
    """One image's detections: cells above `score_thr` whose masks are large and certain, after matrix NMS.

    scores: (P, num_classes). areas: (P,), below which a mask is noise. masks_of: from cells (K,) to probabilities
    (K, h, w). stride: input pixels per mask pixel. cfg: `mask_thr`, `nms_pre` and the settings of `matrix_nms`.
    """
    cells, labels = (scores > cfg["score_thr"]).nonzero(as_tuple=True)
    if not recording() and len(cells) == 0:
        return without_boxes(
            scores.new_zeros(0), labels, scores.new_zeros((0, *geometry.output_size), dtype=torch.bool)
        )
    used, mask = shared_masks(cells)
    probabilities = masks_of(used)
    inside = probabilities > cfg["mask_thr"]
    area = inside.sum((1, 2)).float()
    certainty = (probabilities * inside).sum((1, 2)) / area
    large = (area > areas[used])[mask].nonzero().squeeze(1)
    mask, labels = mask[large], labels[large]
    values, order = ranked(scores[cells[large], labels] * certainty[mask])
    limit = cfg["nms_pre"] if cfg.get("nms_pre", -1) > 0 else order.shape[0]
    values, mask, labels = values[:limit], mask[order[:limit]], labels[order[:limit]]
    kept, values = matrix_nms(inside[mask], labels, values, area[mask], cfg)
    result = image_masks(probabilities[mask[kept]], geometry, cfg["mask_thr"], stride)
    return without_boxes(values, labels[kept], result)


def shared_masks(cells: Tensor) -> tuple[Tensor, Tensor]:
    """The cells of rising indices (K,), each once since its classes share a mask, and the position of each index."""
    if recording():  # ONNX knows no such step
        return cells, torch.arange(cells.shape[0], device=cells.device)
    return cells.unique_consecutive(return_inverse=True)


def image_masks(probabilities: Tensor, geometry: ImageGeometry, threshold: float, stride: int = 4) -> Tensor:
    """Masks (K, H, W) bool in output coordinates, of probabilities (K, h, w) at `stride` input pixels.

    An exported graph leaves them as probabilities.
    """
    if recording():
        return probabilities
    if len(probabilities) == 0:
        return probabilities.new_zeros((0, *geometry.output_size), dtype=torch.bool)
    height, width = geometry.size
    padded = resize(probabilities[None], [side * stride for side in probabilities.shape[-2:]])
    return resize(padded[:, :, :height, :width], geometry.output_size)[0] > threshold


def without_boxes(scores: Tensor, labels: Tensor, masks: Tensor) -> Detections:
    """Detections that are masks alone; their boxes are zero."""
    return Detections(scores.new_zeros((scores.shape[0], 4)), scores, labels, masks)


def peaks(scores: Tensor) -> Tensor:
    """Scores (N, C, H, W) with zeros where a neighbor above or to the left, or both, is higher."""
    highest = F.max_pool2d(scores, 2, stride=1, padding=1)[:, :, :-1, :-1]
    return scores * (highest == scores)


def neighbors(features: Sequence[Tensor]) -> list[Tensor]:
    """The levels with the finest one at the second's resolution and the coarsest one at the last but one's."""
    first, last = resize(features[0], features[1].shape[-2:]), resize(features[-1], features[-2].shape[-2:])
    return [first, *features[1:-1], last]


def with_coordinates(x: Tensor) -> Tensor:
    """A map (N, C, H, W) with two more channels: x and y from -1 to 1."""
    return torch.cat([x, coordinates(x)], dim=1)


def coordinates(like: Tensor) -> Tensor:
    """Channels (N, 2, H, W) with x and y from -1 at the first cell to 1 at the last."""
    y, x = (ramp(side, like) for side in like.shape[-2:])
    grid = torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1])
    return grid.expand(len(like), -1, -1, -1)


def ramp(side: int, like: Tensor) -> Tensor:
    """Numbers (side,) from -1 to 1, of the type and on the device of `like`."""
    if torch.compiler.is_exporting():  # `linspace` would fix the number of cells
        return torch.arange(side, dtype=like.dtype, device=like.device) * (2 / (side - 1)) - 1
    return torch.linspace(-1, 1, side, dtype=like.dtype, device=like.device)


def doubled(x: Tensor) -> Tensor:
    """A map at twice the resolution."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def resize(x: Tensor, size: Sequence[int]) -> Tensor:
    """A map (N, C, H, W) at another resolution (h, w)."""
    return F.interpolate(x, size=tuple(size), mode="bilinear", align_corners=False)
