"""Hybrid Task Cascade: boxes and masks refined together, with a view of the whole scene (Chen et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.roi_heads.cascade import CascadeRoIHead
from zoo.models.roi_heads.fcn_mask_head import HTCMaskHead
from zoo.models.roi_heads.protocols import Extractor, present
from zoo.models.roi_heads.scene import Features, Scene
from zoo.structures import Detections, ImageGeometry


class HybridTaskCascadeRoIHead(CascadeRoIHead):
    """A cascade whose mask heads hand their features on, with semantic features added to every region's.

    mask_info_flow: each mask head sees the one before it. interleaved: masks are trained on the refined boxes.
    """

    def __init__(
        self,
        semantic_roi_extractor: Mapping[str, Any] | None = None,
        semantic_head: Mapping[str, Any] | None = None,
        interleaved: bool = True,
        mask_info_flow: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.interleaved, self.mask_info_flow = interleaved, mask_info_flow
        self.semantic_head = component(semantic_head) if semantic_head else None
        self.semantic_roi_extractor = component(semantic_roi_extractor) if semantic_roi_extractor else None

    def predict(
        self, features: Features, proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """Detections per image, boxes in input and masks in output coordinates."""
        levels = Scene.of(features).levels
        semantic = self.semantic_head(levels)[1] if self.semantic_head is not None else None
        return super().predict(Scene(levels, semantic), proposals, geometries)

    def region_features(self, extractor: Extractor, features: Features, rois: Tensor) -> Tensor:
        """Pyramid features of regions (M, 5), with the semantic ones added: (M, C, h, w)."""
        scene = Scene.of(features)
        return add_semantic(extractor(scene.levels, rois), self.semantic_roi_extractor, scene, rois)

    def mask_logits(self, features: Features, rois: Tensor) -> list[Tensor]:
        """Mask logits (K, num_classes, h, w) of regions (K, 5), stage by stage."""
        x = self.region_features(present(self.mask_roi_extractor)[-1], features, rois)
        previous: Tensor | None = None
        all_logits = []
        for head in cast(Sequence[HTCMaskHead], present(self.mask_head)):
            logits, hidden = head(x, previous)
            previous = hidden if self.mask_info_flow else None
            all_logits.append(logits)
        return all_logits


def add_semantic(x: Tensor, extractor: Extractor | None, scene: Scene, rois: Tensor) -> Tensor:
    """Region features (M, C, h, w) plus the semantic features of the same regions, where there are any."""
    if extractor is None or scene.semantic is None:
        return x
    semantic = extractor([scene.semantic], rois)
    if semantic.shape[-2:] != x.shape[-2:]:
        semantic = F.adaptive_avg_pool2d(semantic, (int(x.shape[-2]), int(x.shape[-1])))
    return x + semantic
