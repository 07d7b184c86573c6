"""Cascade R-CNN: box heads in a row, each on the boxes of the one before (Cai and Vasconcelos, 2018)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.precision import full_precision
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import BoxOutputs, CascadeBoxHead, Extractor, MaskDecoder, MaskHead, present
from zoo.models.roi_heads.scene import Features, Scene
from zoo.models.roi_heads.standard import counts, split
from zoo.structures import Detections, ImageGeometry

PerStage = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class CascadeRoIHead(nn.Module):
    """`num_stages` box heads, and optionally as many mask heads, whose results are averaged.

    Heads and extractors are lists with one description per stage, or one description for all stages. A shorter list of
    mask heads is of the first stages: Detectron2 has one mask head, which learns from the regions of the first stage.
    divide_gradients: box heads pass gradients on to the pyramid divided by the number of stages, as in Detectron2.
    """

    def __init__(
        self,
        num_stages: int,
        bbox_roi_extractor: PerStage,
        bbox_head: PerStage,
        stage_loss_weights: Sequence[float] = (),
        mask_roi_extractor: PerStage | None = None,
        mask_head: PerStage | None = None,
        train_cfg: PerStage | None = None,
        test_cfg: Mapping[str, Any] | None = None,
        divide_gradients: bool = False,
    ) -> None:
        super().__init__()
        self.num_stages, self.stage_loss_weights = num_stages, tuple(stage_loss_weights)
        self.divide_gradients = divide_gradients
        self.train_cfg: PerStage = train_cfg or []
        self.test_cfg = test_cfg or {}
        self.bbox_roi_extractor: Sequence[Extractor] = per_stage(bbox_roi_extractor, num_stages)
        self.bbox_head: Sequence[CascadeBoxHead] = per_stage(bbox_head, num_stages)
        self.mask_head: Sequence[MaskHead] | None = per_stage(mask_head, num_stages) if mask_head else None
        self.mask_roi_extractor: Sequence[Extractor] | None = None
        if mask_head and mask_roi_extractor:
            self.mask_roi_extractor = per_stage(mask_roi_extractor, num_stages)

    def predict(
        self, features: Features, proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """Detections per image, boxes in input and masks in output coordinates.

        features: per level (N, C, H, W); a subclass may hand on more. proposals: per image (M, 4) xyxy.
        """
        detections = self.predict_boxes(features, proposals, geometries)
        if self.mask_head is not None:
            self.predict_masks(features, detections, geometries)
        return detections

    def predict_boxes(
        self, features: Features, proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """Detections without masks, in input coordinates: the last stage's boxes, and the mean of all logits."""
        regions, all_logits = list(proposals), []
        for stage, head in enumerate(self.bbox_head):
            sizes = [r.shape[0] for r in regions]
            outputs = full_precision(self.box_outputs(stage, features, rois_of(regions)))
            logits, deltas = split(outputs[0], sizes), split(outputs[1], sizes)
            all_logits.append(logits)
            if stage + 1 < self.num_stages:
                regions = [head.refine(r, c, d, f) for r, c, d, f in zip(regions, logits, deltas, geometries)]
        means = [self.average(torch.stack(stages)) for stages in zip(*all_logits)]
        head = self.bbox_head[-1]
        return [head.predict(r, c, d, f, self.test_cfg) for r, c, d, f in zip(regions, means, deltas, geometries)]

    def average(self, logits: Tensor) -> Tensor:
        """One image's logits (stages, M, num_classes + 1) as (M, num_classes + 1).

        With `average: scores` in `test_cfg` those that stand for the mean scores, as in Detectron2.
        """
        if self.test_cfg.get("average") == "scores":
            return logits.softmax(-1).mean(dim=0).log()
        return logits.mean(dim=0)

    def box_outputs(self, stage: int, features: Features, rois: Tensor) -> BoxOutputs:
        """A stage's class logits and deltas of regions (M, 5)."""
        x = self.region_features(self.bbox_roi_extractor[stage], features, rois)
        if self.divide_gradients and self.training and x.requires_grad:
            x.register_hook(lambda gradient: gradient / self.num_stages)
        return self.bbox_head[stage](x)

    def region_features(self, extractor: Extractor, features: Features, rois: Tensor) -> Tensor:
        """What a head sees of regions (M, 5): (M, C, h, w)."""
        return extractor(Scene.of(features).levels, rois)

    def mask_logits(self, features: Features, rois: Tensor) -> list[Tensor]:
        """Mask logits (K, num_classes, h, w) of regions (K, 5), stage by stage."""
        extractors = self.mask_roi_extractor or self.bbox_roi_extractor
        return [head(self.region_features(e, features, rois)) for e, head in zip(extractors, present(self.mask_head))]

    @property
    def final_mask_head(self) -> MaskDecoder:
        """The mask head that pastes the results."""
        return present(self.mask_head)[-1]

    def predict_masks(
        self, features: Features, detections: list[Detections], geometries: Sequence[ImageGeometry]
    ) -> None:
        """Give the detections the mean masks of all stages."""
        head, labels = self.final_mask_head, torch.cat([d.labels for d in detections])
        logits = self.mask_logits(features, rois_of([d.boxes for d in detections]))
        masks = torch.stack([head.probabilities(x, labels) for x in logits]).mean(dim=0)
        for d, part, geometry in zip(detections, split(masks, counts(detections)), geometries):
            d.masks = head.paste(part, d.boxes, geometry, self.test_cfg)


def per_stage(description: PerStage, num_stages: int) -> Any:
    """One module per stage (`nn.ModuleList`), of a list of descriptions or of one for all."""
    descriptions = [description] * num_stages if isinstance(description, Mapping) else description
    return nn.ModuleList(component(d) for d in descriptions)
