"""CondInst (Tian et al., Conditional Convolutions for Instance Segmentation, 2020) and BoxInst (Tian et al., 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.dense_heads.fcos import FCOSHead
from zoo.models.dense_heads.selection import Level, detect_with_rest, flatten_map
from zoo.models.dense_heads.towers import run
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.dynamic_mask import DynamicMask
from zoo.models.layers.tracing import recording
from zoo.models.priors.points import PointGenerator
from zoo.structures import Detections, ImageGeometry

DICE = {"type": "DiceLoss", "use_sigmoid": True, "activate": True, "eps": 5e-6, "loss_weight": 1.0}


class CondInstBboxHead(FCOSHead):
    """FCOS with the parameters of an instance's mask for every cell. num_params: how many of them."""

    def __init__(self, num_classes: int, in_channels: int, num_params: int = 169, **kwargs: Any) -> None:
        self.num_params = num_params
        super().__init__(num_classes, in_channels, **kwargs)

    def add_predictors(self) -> None:
        """The convolutions behind the towers."""
        super().add_predictors()
        self.controller = nn.Conv2d(self.feat_channels, self.num_params, 3, padding=1)

    def forward_level(self, x: Tensor, scale: nn.Module, stride: int) -> tuple[Tensor, ...]:  # type: ignore[override]
        """One level's maps: those of FCOS, and parameters (N, num_params, H, W)."""
        classes, region = run(self.cls_convs, x), run(self.reg_convs, x)
        centerness = self.conv_centerness(region if self.centerness_on_reg else classes)
        distances = self.distances(scale(self.conv_reg(region)).float(), stride)
        return self.conv_cls(classes), distances, centerness, self.controller(region)

    def levels(self, outputs: Sequence[Sequence[Tensor]], image: int) -> list[Level]:
        """One image's predictions; behind the distances of the regression stand the mask's parameters."""
        parameters = [flatten_map(x[image], self.num_params) for x in outputs[3]]
        levels = super().levels(outputs[:3], image)
        return [replace(level, regression=torch.cat([level.regression, p], 1)) for level, p in zip(levels, parameters)]

    def predict_with_parameters(
        self, outputs: Sequence[Sequence[Tensor]], geometries: Sequence[ImageGeometry]
    ) -> list[tuple[Detections, Tensor, Tensor]]:
        """Per image the detections in input coordinates, their masks' parameters (K, P), and their priors (K, 4)."""
        return [
            detect_with_rest(self.levels(outputs, i), partial(self.decode, size=geometry.size), self.test_cfg)
            for i, geometry in enumerate(geometries)
        ]


class BoxInstBboxHead(CondInstBboxHead):
    """The same network; its masks are learned from boxes."""


class CondInstMaskHead(nn.Module):
    """Masks by each instance's own convolutions over features that all instances share.

    mask_feature_head: arguments of `MaskFeatModule`. num_layers, feat_channels: of the convolutions. size_of_interest:
    in how many strides distances are measured. mask_out_stride: pixels per cell of the masks that are learned.
    max_masks_to_train, topk_masks_per_img: of an image, for training; the first are drawn at random, the others are the
    best of every object.
    """

    learns_masks = True

    def __init__(
        self,
        mask_feature_head: Mapping[str, Any],
        num_layers: int = 3,
        feat_channels: int = 8,
        mask_out_stride: int = 4,
        size_of_interest: int = 8,
        max_masks_to_train: int = -1,
        topk_masks_per_img: int = -1,
        loss_mask: Mapping[str, Any] = DICE,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.mask_feature_head = MaskFeatModule(**mask_feature_head)
        self.reach, self.out_stride = size_of_interest, mask_out_stride
        self.max_masks, self.best_masks = max_masks_to_train, topk_masks_per_img
        self.loss_cfg, self.test_cfg = {"mask": loss_mask}, test_cfg or {}
        self.dynamic = DynamicMask(self.mask_feature_head.out_channels, feat_channels, num_layers)
        self.points = PointGenerator([self.mask_feature_head.stride])

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """The levels (N, C, H_i, W_i) to what all masks are made of (N, out_channels, H, W)."""
        return self.mask_feature_head(features)

    def logits(self, features: Tensor, parameters: Tensor, priors: Tensor) -> Tensor:
        """Logits (K, H', W') of one image's instances, in cells of `mask_out_stride` pixels.

        features: (C, H, W). parameters: (K, P). priors: (K, 4).
        """
        points = self.points.grid_priors([(features.shape[1], features.shape[2])], features.device)[0]
        logits = self.dynamic(features, parameters, priors, points, self.reach)
        return aligned_bilinear(logits[None], self.mask_feature_head.stride // self.out_stride)[0]

    def masks(self, logits: Tensor, geometry: ImageGeometry) -> Tensor:
        """Masks (K, H, W) bool in output coordinates; an exported graph leaves them as probabilities of the input."""
        soft = aligned_bilinear(logits.sigmoid()[None], self.out_stride)[0]
        return soft if recording() else self.image_masks(soft, geometry)

    def image_masks(self, soft: Tensor, geometry: ImageGeometry) -> Tensor:
        """Masks (K, H, W) bool in output coordinates from probabilities (K, H', W') of the whole input."""
        soft = soft[:, : geometry.size[0], : geometry.size[1]]
        if tuple(soft.shape[1:]) != tuple(geometry.output_size) and len(soft):
            soft = F.interpolate(soft[None], geometry.output_size, mode="bilinear", align_corners=False)[0]
        elif len(soft) == 0:
            soft = soft.new_zeros((0, *geometry.output_size))
        return soft > self.test_cfg["mask_thr"]


class BoxInstMaskHead(CondInstMaskHead):
    """The same network, learned from boxes and from which neighboring pixels have the same color.

    pairwise_size, pairwise_dilation: of the neighborhood. warmup_iters: over which the latter loss grows to its weight.
    """

    learns_masks = False

    def __init__(
        self,
        mask_feature_head: Mapping[str, Any],
        pairwise_size: int = 3,
        pairwise_dilation: int = 2,
        warmup_iters: int = 10000,
        **kwargs: Any,
    ) -> None:
        super().__init__(mask_feature_head, **kwargs)
        self.pairwise_size, self.pairwise_dilation, self.warmup = pairwise_size, pairwise_dilation, warmup_iters


class MaskFeatModule(nn.Module):
    """Levels `start_level` to `end_level`, added up at the first one's resolution, and a tower.

    mask_stride: pixels per cell of the first of them.
    """

    def __init__(
        self,
        in_channels: int,
        feat_channels: int,
        start_level: int,
        end_level: int,
        out_channels: int,
        mask_stride: int = 4,
        num_stacked_convs: int = 4,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.levels, self.out_channels, self.stride = range(start_level, end_level + 1), out_channels, mask_stride

        def conv(channels: int) -> ConvModule:
            return ConvModule(
                channels, feat_channels, 3, padding=1, bias=False, conv_cfg=conv_cfg, norm_cfg=norm_cfg, inplace=False
            )

        self.convs_all_levels = nn.ModuleList(nn.Sequential() for _ in self.levels)
        for i, convs in zip(self.levels, self.convs_all_levels):
            convs.add_module(f"conv{i}", conv(in_channels))
        self.conv_branch = nn.Sequential(*(conv(feat_channels) for _ in range(num_stacked_convs)))
        self.conv_pred = nn.Conv2d(feat_channels, out_channels, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(N, in_channels, H_i, W_i) to (N, out_channels, H, W)."""
        maps = [convs(features[i]) for i, convs in zip(self.levels, self.convs_all_levels)]
        total = maps[0]
        for x in maps[1:]:
            total = total + aligned_bilinear(x, total.shape[2] // x.shape[2])
        return self.conv_pred(self.conv_branch(total))


def aligned_bilinear(x: Tensor, factor: int) -> Tensor:
    """Maps (N, C, H, W) `factor` times as large, with the first cell's center on the first pixel's.

    AdelaiDet's interpolation, which moves everything by half a cell less than PyTorch's.
    """
    if factor == 1:
        return x
    if x.shape[1] == 0:  # no instances
        return x.new_zeros((x.shape[0], 0, x.shape[2] * factor, x.shape[3] * factor))
    height, width = x.shape[2:]
    x = F.pad(x, (0, 1, 0, 1), mode="replicate")
    x = F.interpolate(x, size=(factor * height + 1, factor * width + 1), mode="bilinear", align_corners=True)
    x = F.pad(x, (factor // 2, 0, factor // 2, 0), mode="replicate")
    return x[:, :, : factor * height, : factor * width]
