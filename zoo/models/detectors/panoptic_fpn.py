"""Panoptic FPN: Mask R-CNN and semantic segmentation on one pyramid (Kirillov et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.segmentation import panoptic_loss
from zoo.models.criteria.table import losses_of
from zoo.models.detectors.two_stage import TwoStageDetector
from zoo.models.targets import Truth
from zoo.structures import Detections, Frame


class PanopticFPN(TwoStageDetector):
    """Detections, fused with the semantic segmentation into a panoptic map.

    test_cfg: its part `panoptic` says which detections there are, and how both are fused. With `covers: image` in it
    the map of a network input leaves out the padding, as in Detectron2.
    """

    def __init__(
        self,
        semantic_head: Mapping[str, Any],
        panoptic_fusion_head: Mapping[str, Any],
        test_cfg: Mapping[str, Any],
        **kwargs: Any,
    ) -> None:
        super().__init__(test_cfg={**test_cfg, "rcnn": test_cfg["panoptic"]}, **kwargs)
        self.semantic_head = component(semantic_head)
        self.panoptic_fusion_head = component(panoptic_fusion_head, test_cfg=test_cfg["panoptic"])
        self.covers_padding = test_cfg["panoptic"].get("covers", "input") == "input"

    def input_frame(self, images: Tensor, size: tuple[int, int]) -> Frame:
        """In network-input coordinates, MMDetection's masks and panoptic maps cover the padding too."""
        if not self.covers_padding:
            return super().input_frame(images, size)
        return Frame(size=size, output_size=(images.shape[2], images.shape[3]))

    def predict(self, images: Tensor, frames: Sequence[Frame], *args: Any) -> list[Detections]:
        """Detections with masks and a panoptic map, in output coordinates."""
        found, logits = self.parts(images, frames, *args)
        for d, x, frame in zip(found, logits, frames):
            d.panoptic = self.fused(d, x, frame, (images.shape[2], images.shape[3]))
        return [d.to_output(frame) for d, frame in zip(found, frames)]

    def parts(self, images: Tensor, frames: Sequence[Frame], *args: Any) -> tuple[list[Detections], Tensor]:
        """Instances per picture, and the segmentation's logits (N, C, h, w) of the padded input."""
        features = self.features(images)
        found = self.roi_head.predict(features, self.propose(features, frames, *args), frames)
        return found, self.semantic_head(features)

    def fused(self, found: Detections, logits: Tensor, frame: Frame, size: tuple[int, int]) -> Tensor:
        """One picture's panoptic map in output coordinates. logits: (C, h, w). size: of the padded input, (h, w)."""
        logits = F.interpolate(logits[None], size=size, mode="bilinear", align_corners=False)[0]
        whole = frame.scale == (1.0, 1.0) and frame.output_size == size
        panoptic: Tensor = self.panoptic_fusion_head(
            found.masks, found.labels, logits if whole else in_output(logits, frame), found.scores
        )
        return panoptic

    def compute_losses(self, images: Tensor, frames: Sequence[Frame], truths: Sequence[Truth]) -> dict[str, Tensor]:
        """Losses of the detector, and of the segmentation where the targets have `semantic` classes."""
        compute = losses_of(self.roi_head)
        features = self.features(images)
        losses, proposals = self.first_stage_losses(features, frames, truths)
        segments = panoptic_loss(self.semantic_head, self.semantic_head(features), truths)
        return {**losses, **compute(self.roi_head, features, proposals, frames, truths), **segments}


def in_output(logits: Tensor, frame: Frame) -> Tensor:
    """Logits (C, H, W) of a padded input, cut to the picture and resized to the output: (C, h, w)."""
    height, width = frame.size
    inside = logits[None, :, :height, :width]
    return F.interpolate(inside, size=frame.output_size, mode="bilinear", align_corners=False)[0]
