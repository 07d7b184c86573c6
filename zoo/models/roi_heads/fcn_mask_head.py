"""Masks of regions (He et al., Mask R-CNN, 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.layers.conv import make_conv
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.conv_stack import conv_stack, run
from zoo.models.layers.masks import paste_masks
from zoo.models.layers.tracing import recording
from zoo.models.layers.upsample import make_upsample
from zoo.structures import ImageGeometry

DECONV = {"type": "deconv", "scale_factor": 2}


class FCNMaskHead(nn.Module):
    """Convolutions, an upsampling, and one mask per class.

    upsample_cfg: its type may be None for no upsampling. class_agnostic: one mask for all classes.
    conv_to_res: residual blocks of two convolutions each (SCNet).
    """

    learns_masks = True

    def __init__(
        self,
        num_convs: int = 4,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        conv_out_channels: int = 256,
        num_classes: int = 80,
        roi_feat_size: int = 14,
        class_agnostic: bool = False,
        upsample_cfg: Mapping[str, Any] = DECONV,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
        predictor_cfg: Mapping[str, Any] | None = None,
        conv_to_res: bool = False,
        loss_mask: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_classes, self.class_agnostic, self.roi_feat_size = num_classes, class_agnostic, roi_feat_size
        self.loss_cfg = {"mask": loss_mask}
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        self.convs = conv_stack(num_convs, in_channels, conv_out_channels, conv_kernel_size, conv_to_res, **common)
        channels = conv_out_channels if num_convs else in_channels
        self.upsample = None
        if upsample_cfg["type"] is not None:
            self.upsample = make_upsample(upsample_cfg, channels, conv_out_channels)
        self.relu = nn.ReLU(inplace=True) if upsample_cfg["type"] == "deconv" else nn.Identity()
        channels = conv_out_channels if upsample_cfg["type"] == "deconv" else channels
        self.conv_logits = make_conv(predictor_cfg, channels, 1 if class_agnostic else num_classes, 1)
        for layer in (self.upsample, self.conv_logits):
            if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)) and layer.bias is not None:
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Region features (M, C, h, w) to mask logits (M, num_classes or 1, 2 * h, 2 * w)."""
        return self.run_predictor(run(self.convs, x))

    def run_predictor(self, x: Tensor) -> Tensor:
        """What the convolutions made of the regions, to mask logits."""
        if self.upsample is not None:
            x = self.relu(self.upsample(x))
        return self.conv_logits(x)

    def probabilities(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The masks (K, h, w) of the given classes (K,)."""
        return self.of_class(logits, labels).sigmoid()

    def of_class(self, logits: Tensor, labels: Tensor) -> Tensor:
        """The logits (K, ...) of the given classes (K,), out of those of all classes (K, num_classes or 1, ...)."""
        index = torch.zeros_like(labels) if self.class_agnostic else labels
        return logits[torch.arange(labels.shape[0], device=labels.device), index]

    def paste(self, masks: Tensor, boxes: Tensor, geometry: ImageGeometry, cfg: Mapping[str, Any]) -> Tensor:
        """Image masks (K, H, W) bool in output coordinates.

        masks: (K, h, w) probabilities. boxes: (K, 4) xyxy in input coordinates. cfg: `mask_thr_binary`. In an exported
        graph they stay as they are, for whoever runs it to paste.
        """
        if recording():
            return masks
        return paste_masks(masks, geometry.to_output(boxes), geometry.output_size, cfg["mask_thr_binary"])


class SCNetMaskHead(FCNMaskHead):
    """A mask head of residual blocks (Vu et al., SCNet, 2020)."""

    def __init__(self, conv_to_res: bool = True, **kwargs: Any) -> None:
        super().__init__(conv_to_res=conv_to_res, **kwargs)


class HTCMaskHead(FCNMaskHead):
    """A mask head that also sees the one before it (Chen et al., Hybrid Task Cascade, 2019, section 3.2).

    with_conv_res: whether there is one before it; its features come through a 1x1 convolution.
    """

    def __init__(self, with_conv_res: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels = self.conv_logits.in_channels
        common: dict[str, Any] = {key: kwargs.get(key) for key in ("conv_cfg", "norm_cfg")}
        self.conv_res = ConvModule(channels, channels, 1, **common) if with_conv_res else None

    def forward(self, x: Tensor, previous: Tensor | None = None) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Mask logits of regions, and the features for the next stage's head.

        x: region features (M, C, h, w). previous: features that the previous stage's head returned.
        """
        if previous is not None and self.conv_res is not None:
            x = x + self.conv_res(previous)
        x = run(self.convs, x)
        return self.run_predictor(x), x
