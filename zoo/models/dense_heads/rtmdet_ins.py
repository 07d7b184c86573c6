"""RTMDet-Ins: RTMDet with a mask for each detection (Lyu et al., 2022, section 3.5)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.dense_heads.rtmdet import SILU, RTMDetSepBNHead
from zoo.models.dense_heads.selection import Level, detect_with_rest, flatten_map
from zoo.models.dense_heads.towers import init_dense, run
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.dynamic_mask import DynamicMask
from zoo.models.layers.tracing import recording
from zoo.structures import Detections, ImageGeometry

BN = {"type": "BN"}
DICE = {"type": "DiceLoss", "loss_weight": 2.0, "eps": 5e-6, "reduction": "mean"}


class RTMDetInsSepBNHead(RTMDetSepBNHead):
    """Classes, distances and the parameters of `DynamicMask` for every cell, and one image's features for all masks.

    num_prototypes: channels of these features. dyconv_channels, num_dyconvs: of the masks' convolutions.
    mask_loss_stride: pixels per cell at which masks are compared in training.
    """

    learns_masks = True

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        stacked_convs: int = 4,
        with_objectness: bool = False,
        num_prototypes: int = 8,
        dyconv_channels: int = 8,
        num_dyconvs: int = 3,
        mask_loss_stride: int = 4,
        norm_cfg: Mapping[str, Any] = BN,
        act_cfg: Mapping[str, Any] = SILU,
        loss_mask: Mapping[str, Any] = DICE,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            num_classes,
            in_channels,
            stacked_convs,
            with_objectness=with_objectness,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            **kwargs,
        )
        self.loss_cfg["mask"] = loss_mask
        self.mask_loss_stride = mask_loss_stride
        self.dynamic = DynamicMask(num_prototypes, dyconv_channels, num_dyconvs)
        self.kernel_convs = self.towers(stacked_convs, shared=False)
        self.rtm_kernel = self.predictors(self.dynamic.count)
        self.mask_head = MaskFeatModule(
            in_channels, self.feat_channels, len(self.strides), num_prototypes, norm_cfg, act_cfg
        )
        init_dense(self, *self.rtm_cls)  # type: ignore[arg-type]
        for layer in self.rtm_reg:
            nn.init.ones_(layer.bias)  # type: ignore[arg-type]

    def box_towers(self, depth: int, shared: bool) -> nn.ModuleList:
        """Those of the classes: in the reference the two branches are one, by both names."""
        return nn.ModuleList(self.cls_convs)

    def forward(self, features: Sequence[Tensor]) -> tuple[Any, ...]:
        """Per level (N, C, H, W): class logits, distances (N, 4, H, W) in pixels, parameters (N, P, H, W).

        Behind them the features of the masks (N, num_prototypes, H, W), at the finest level's resolution.
        """
        return (*super().forward(features), self.mask_head(features))

    def forward_level(self, x: Tensor, level: int) -> tuple[Tensor, ...]:
        """One level's maps."""
        parameters = self.rtm_kernel[level](run(self.kernel_convs[level], x))  # type: ignore[arg-type]
        return (*super().forward_level(x, level), parameters)

    def distances(self, x: Tensor) -> Tensor:
        """What the box branch predicts, in strides."""
        return F.relu(x)

    def levels(self, outputs: Sequence[Any], image: int) -> list[Level]:
        """One image's predictions; behind the distances of the regression stand the masks' parameters."""
        parameters = [flatten_map(x[image], self.dynamic.count) for x in outputs[2]]
        levels = super().levels(outputs[:2], image)
        return [replace(level, regression=torch.cat([level.regression, p], 1)) for level, p in zip(levels, parameters)]

    def predict(self, outputs: Sequence[Any], geometries: Sequence[ImageGeometry]) -> list[Detections]:
        """Detections in input coordinates, with masks in the geometries' output coordinates."""
        return [self.predict_instances(self.levels(outputs, i), outputs[3][i], f) for i, f in enumerate(geometries)]

    def predict_instances(self, levels: Sequence[Level], features: Tensor, geometry: ImageGeometry) -> Detections:
        """One image's detections. features: (num_prototypes, H, W)."""
        decode = partial(self.decode, size=geometry.size)
        detections, parameters, priors = detect_with_rest(levels, decode, self.test_cfg)
        detections.masks = self.masks(self.mask_logits(features, parameters, priors), geometry)
        return detections

    def mask_logits(self, features: Tensor, parameters: Tensor, priors: Tensor) -> Tensor:
        """Logits (K, H, W) of one image's instances at the resolution of its features (num_prototypes, H, W)."""
        size = [(features.shape[1], features.shape[2])]
        points = self.prior_generator.grid_priors(size, features.device)[0]
        return self.dynamic(features, parameters, priors, points)

    def masks(self, logits: Tensor, geometry: ImageGeometry) -> Tensor:
        """Masks (K, H, W) bool in output coordinates from logits at the finest level's resolution.

        An exported graph leaves them as logits (K, H', W') of the whole input.
        """
        logits = F.interpolate(logits[:, None], scale_factor=float(self.strides[0]), mode="bilinear")[:, 0]
        return logits if recording() else self.image_masks(logits, geometry)

    def image_masks(self, logits: Tensor, geometry: ImageGeometry) -> Tensor:
        """Masks (K, H, W) bool in output coordinates from logits (K, H', W') of the whole input."""
        height, width = geometry.output_size
        if geometry.scale != (1.0, 1.0):
            logits = F.interpolate(logits[:, None], unscaled(logits, geometry), mode="bilinear")[:, 0]
        masks = logits[:, :height, :width].sigmoid() > self.test_cfg["mask_thr_binary"]
        missing = (0, width - masks.shape[2], 0, height - masks.shape[1])
        return F.pad(masks, missing) if any(missing) else masks


def unscaled(logits: Tensor, geometry: ImageGeometry) -> tuple[int, int]:
    """(h, w) of the whole input in output pixels.

    The reference has the two factors swapped, which matters where they differ: masks are then moved by a pixel.
    """
    return math.ceil(logits.shape[1] * (1 / geometry.scale[0])), math.ceil(logits.shape[2] * (1 / geometry.scale[1]))


class MaskFeatModule(nn.Module):
    """What all masks are made of: the levels at the finest one's resolution, joined, and a tower."""

    def __init__(
        self,
        in_channels: int,
        channels: int,
        levels: int,
        num_prototypes: int,
        norm_cfg: Mapping[str, Any],
        act_cfg: Mapping[str, Any],
        depth: int = 4,
    ) -> None:
        super().__init__()
        self.fusion_conv = nn.Conv2d(levels * in_channels, in_channels, 1)
        self.stacked_convs = nn.Sequential(
            *(
                ConvModule(
                    in_channels if i == 0 else channels, channels, 3, padding=1, norm_cfg=norm_cfg, act_cfg=act_cfg
                )
                for i in range(depth)
            )
        )
        self.projection = nn.Conv2d(channels, num_prototypes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Levels (N, in_channels, H_i, W_i), finest first, to (N, num_prototypes, H_0, W_0)."""
        size = features[0].shape[-2:]
        others = [F.interpolate(x, size=size, mode="bilinear") for x in features[1:]]
        return self.projection(self.stacked_convs(self.fusion_conv(torch.cat([features[0], *others], dim=1))))
