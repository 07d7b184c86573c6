"""MaskFormer and Mask2Former (Cheng et al., 2021 and 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.detectors.base import Detector
from zoo.models.detectors.panoptic_fpn import in_output
from zoo.models.queries.padding import padding_mask
from zoo.structures import Detections, Frame


class MaskFormer(Detector):
    """Backbone, optional neck, a head of queries with classes and masks, and their fusion."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        panoptic_head: Mapping[str, Any],
        panoptic_fusion_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck)
        self.panoptic_head = component(panoptic_head, train_cfg=train_cfg, test_cfg=test_cfg)
        self.panoptic_fusion_head = component(panoptic_fusion_head, test_cfg=test_cfg)

    def predict(self, images: Tensor, frames: Sequence[Frame], *args: Any) -> list[Detections]:
        """Panoptic maps, or detections with masks, or both, in output coordinates."""
        logits, masks = self.panoptic_head(self.features(images), padding_mask(images, frames))
        masks = F.interpolate(masks[-1], size=images.shape[-2:], mode="bilinear", align_corners=False)
        return [self.panoptic_fusion_head(x, in_output(m, frame)) for x, m, frame in zip(logits[-1], masks, frames)]
