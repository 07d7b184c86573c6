"""RepPoints' head (Yang et al., Point Set Representation for Object Detection, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.coders.delta import clip
from zoo.models.dense_heads.anchor_head import AnchorHead
from zoo.models.dense_heads.fcos import FOCAL
from zoo.models.dense_heads.towers import init_dense, over_levels, run, tower
from zoo.models.layers.constants import constant
from zoo.models.layers.deform_conv import DeformConv, kernel_elements
from zoo.models.priors.points import PointGenerator
from zoo.structures import Detections, ImageGeometry


class RepPointsHead(AnchorHead):
    """A set of points from every cell; features sampled there give the scores and refined points.

    num_points: an odd square. point_strides: pixels per cell and level. point_base_scale: side of the first box in
    strides. use_grid_points: points are a grid in a regressed box instead of free. center_init: free points start at
    the center. transform_method: the box of points spans them ("minmax", or the first four with "partial_minmax") or
    their standard deviation ("moment"). gradient_mul, moment_mul: shares of gradients.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        point_feat_channels: int = 256,
        num_points: int = 9,
        gradient_mul: float = 0.1,
        point_strides: Sequence[int] = (8, 16, 32, 64, 128),
        point_base_scale: float = 4,
        use_grid_points: bool = False,
        center_init: bool = True,
        transform_method: str = "moment",
        moment_mul: float = 0.01,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        loss_cls: Mapping[str, Any] = FOCAL,
        loss_bbox_init: Mapping[str, Any] | None = None,
        loss_bbox_refine: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, loss_cls=loss_cls, **kwargs)
        self.loss_cfg.update(bbox_init=loss_bbox_init, bbox_refine=loss_bbox_refine)
        if transform_method not in ("minmax", "partial_minmax", "moment"):
            raise BuildError(f"no transform_method '{transform_method}'; known: minmax, partial_minmax, moment")
        self.kernel, self.gradient_mul = isqrt(num_points), gradient_mul
        self.point_strides, self.point_base_scale = tuple(point_strides), point_base_scale
        self.use_grid_points, self.center_init = use_grid_points, center_init
        self.transform_method, self.moment_mul = transform_method, moment_mul
        self.prior_generator = PointGenerator(point_strides, offset=0)
        if transform_method == "moment":
            self.moment_transfer = nn.Parameter(torch.zeros(2))
        channels, hidden = self.feat_channels, point_feat_channels
        outputs = 4 if use_grid_points else 2 * num_points
        deformable: dict[str, Any] = {"kernel_size": self.kernel, "padding": self.kernel // 2}
        self.cls_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg)
        self.reg_convs = tower(in_channels, channels, stacked_convs, norm_cfg, conv_cfg)
        self.reppoints_cls_conv = DeformConv(channels, hidden, **deformable)
        self.reppoints_cls_out = nn.Conv2d(hidden, self.cls_out_channels, 1)
        self.reppoints_pts_init_conv = nn.Conv2d(channels, hidden, 3, padding=1)
        self.reppoints_pts_init_out = nn.Conv2d(hidden, outputs, 1)
        self.reppoints_pts_refine_conv = DeformConv(channels, hidden, **deformable)
        self.reppoints_pts_refine_out = nn.Conv2d(hidden, outputs, 1)
        init_dense(self, self.reppoints_cls_out)

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], ...]:
        """Per level (N, C, H, W): class logits (N, C, H, W), refined and first points (N, 2 * num_points, H, W).

        Points are (dy, dx) from the cell's corner, in strides.
        """
        return over_levels(self.forward_level, features)

    def forward_level(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One level's maps."""
        classes, region = run(self.cls_convs, x), run(self.reg_convs, x)
        first, box = self.first_points(self.reppoints_pts_init_out(F.relu(self.reppoints_pts_init_conv(region))))
        sampled = (1 - self.gradient_mul) * first.detach() + self.gradient_mul * first
        offsets = sampled - kernel_elements(self.kernel, x)
        logits = self.reppoints_cls_out(F.relu(self.reppoints_cls_conv(classes, offsets)))
        moved = self.reppoints_pts_refine_out(F.relu(self.reppoints_pts_refine_conv(region, offsets)))
        refined = self.grid(moved, box.detach())[0] if self.use_grid_points else moved + first.detach()
        return logits, refined, first

    def first_points(self, regression: Tensor) -> tuple[Tensor, Tensor]:
        """First points (N, 2 * num_points, H, W) and, for a grid of points, their box (N, 4, H, W)."""
        reach = self.point_base_scale / 2
        start = constant((-reach, -reach, reach, reach), regression).view(1, 4, 1, 1)
        if self.use_grid_points:
            return self.grid(regression, start)
        if self.center_init:
            return regression, start
        elements = kernel_elements(self.kernel, regression)
        return regression + elements / elements.max() * reach, start

    def grid(self, regression: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """A regular grid of points (N, 2 * num_points, H, W) in boxes that `regression` makes of `boxes`, and those.

        regression: (N, 4, H, W), shifts and log-scales. boxes: (N or 1, 4, H or 1, W or 1) xyxy.
        """
        center, size = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).clamp(min=1e-6)
        extent = size * regression[:, 2:].exp()
        corner = center + size * regression[:, :2] - extent / 2
        steps = torch.linspace(0, 1, self.kernel, device=regression.device, dtype=regression.dtype).view(1, -1, 1, 1)
        x, y = (corner[:, i : i + 1] + extent[:, i : i + 1] * steps for i in (0, 1))
        count = self.kernel
        pairs = (y[:, :, None].expand(-1, -1, count, -1, -1), x[:, None].expand(-1, count, -1, -1, -1))
        return torch.stack(pairs, dim=3).flatten(1, 3), torch.cat([corner, corner + extent], dim=1)

    def boxes(self, points: Tensor) -> Tensor:
        """Boxes (N, 4, H, W) xyxy of points (N, 2 * num_points, H, W), y first."""
        y, x = points.unflatten(1, (-1, 2)).unbind(dim=2)
        if self.transform_method == "partial_minmax":
            y, x = y[:, :4], x[:, :4]
        if self.transform_method != "moment":
            return torch.stack([x.amin(1), y.amin(1), x.amax(1), y.amax(1)], dim=1)
        transfer = self.moment_transfer * self.moment_mul + self.moment_transfer.detach() * (1 - self.moment_mul)
        half_width, half_height = x.std(dim=1) * transfer[0].exp(), y.std(dim=1) * transfer[1].exp()
        x, y = x.mean(dim=1), y.mean(dim=1)
        return torch.stack([x - half_width, y - half_height, x + half_width, y + half_height], dim=1)

    def predict(self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates, from the refined points."""
        logits, refined, _ = outputs
        boxes = [self.boxes(points) * stride for points, stride in zip(refined, self.point_strides)]
        return super().predict((logits, boxes), geometries)

    def decode(self, priors: Tensor, regression: Tensor, size: tuple[int, int]) -> Tensor:
        """Boxes (K, 4) from points (K, 4), of which x, y count, and boxes (K, 4) relative to them."""
        return clip(regression + priors[:, :2].repeat(1, 2), size)
