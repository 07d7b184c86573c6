"""Boxes as shifts and log-scales of other boxes (Girshick et al., R-CNN, 2014, appendix C)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.layers.constants import constant

# exp() of a size delta is limited to this ratio, so that an untrained network cannot overflow.
MAX_RATIO = abs(math.log(16 / 1000))


class DeltaXYWHCoder:
    """dx, dy in units of the prior's size; dw, dh logarithmic; all normalized by means and standard deviations.

    clip_border: decoded boxes are clipped to the image. add_ctr_clamp, ctr_clamp: limit the center's shift to
    `ctr_clamp` pixels (YOLOF). limit_shrinking: a side may shrink no further than it may grow; Detectron2 and
    torchvision limit growth alone.
    """

    def __init__(
        self,
        target_means: Sequence[float] = (0.0, 0.0, 0.0, 0.0),
        target_stds: Sequence[float] = (1.0, 1.0, 1.0, 1.0),
        clip_border: bool = True,
        add_ctr_clamp: bool = False,
        ctr_clamp: int = 32,
        limit_shrinking: bool = True,
    ) -> None:
        self.means = tuple(target_means)
        self.stds = tuple(target_stds)
        self.clip_border = clip_border
        self.center_limit = ctr_clamp if add_ctr_clamp else None
        self.limit_shrinking = limit_shrinking and not add_ctr_clamp

    def encode(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (..., 4) that turn `priors` into `boxes`, both (..., 4) xyxy."""
        center, size = center_and_size(priors.float())
        target_center, target_size = center_and_size(boxes.float())
        deltas = torch.cat([(target_center - center) / size, torch.log(target_size / size)], dim=-1)
        return (deltas - constant(self.means, deltas)) / constant(self.stds, deltas)

    def decode(
        self, priors: Tensor, deltas: Tensor, size: tuple[int, int] | None = None, max_log_scale: float = MAX_RATIO
    ) -> Tensor:
        """Boxes from deltas.

        priors: (K, 4) xyxy. deltas: (K, 4), or (K, C * 4) with one box per class. size: (h, w) to clip to.
        max_log_scale: limit of the logarithm of a side's change. Returns boxes shaped like `deltas`.
        """
        shape = deltas.shape
        deltas = deltas.reshape(-1, shape[-1] // 4, 4)
        deltas = deltas * constant(self.stds, deltas) + constant(self.means, deltas)
        center, extent = center_and_size(priors[:, None])
        shift, log_scale = extent * deltas[..., :2], deltas[..., 2:]
        log_scale = log_scale.clamp(-max_log_scale if self.limit_shrinking else None, max_log_scale)
        if self.center_limit is not None:
            shift = shift.clamp(-self.center_limit, self.center_limit)
        half = extent * log_scale.exp() * 0.5
        boxes = torch.cat([center + shift - half, center + shift + half], dim=-1)
        return (clip(boxes, size) if self.clip_border and size is not None else boxes).reshape(shape)


def center_and_size(boxes: Tensor) -> tuple[Tensor, Tensor]:
    """Centers (..., 2) and sizes (..., 2) of boxes (..., 4) xyxy."""
    return (boxes[..., :2] + boxes[..., 2:]) * 0.5, boxes[..., 2:] - boxes[..., :2]


def clip(boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (..., 4) xyxy limited to an image of (h, w)."""
    height, width = size
    x = boxes[..., 0::2].clamp(min=0).clamp(max=width)  # in two steps: an exported graph's sizes are tensors
    y = boxes[..., 1::2].clamp(min=0).clamp(max=height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], dim=-1)
