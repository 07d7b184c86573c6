"""The cascade of Sparse R-CNN and QueryInst (Sun et al., 2021; Fang et al., 2021)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor

from zoo.models.query_heads.dii_head import DIIHead
from zoo.models.query_heads.dynamic_mask_head import DynamicMaskHead
from zoo.models.roi_heads.cascade import CascadeRoIHead
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.standard import counts, split
from zoo.structures import Detections, ImageGeometry


class Stage(NamedTuple):
    """What one stage predicts for N images with Q queries each.

    logits: (N, Q, classes). boxes: per image (Q, 4) xyxy. objects, attended: (N, Q, C), see `DIIHead`.
    """

    logits: Tensor
    boxes: list[Tensor]
    objects: Tensor
    attended: Tensor


class SparseRoIHead(CascadeRoIHead):
    """Each stage moves the boxes and updates the queries; the last one's best pairs of query and class are returned."""

    def __init__(self, proposal_feature_channel: int = 256, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.proposal_feature_channel = proposal_feature_channel

    def run_stage(
        self,
        stage: int,
        features: Sequence[Tensor],
        boxes: Sequence[Tensor],
        queries: Tensor,
        geometries: Sequence[ImageGeometry],
    ) -> Stage:
        """One stage. features: per level (N, C, H, W). boxes: per image (Q, 4) xyxy. queries: (N, Q, C)."""
        head = cast(DIIHead, self.bbox_head[stage])
        regions = self.bbox_roi_extractor[stage](features, rois_of(boxes))
        logits, deltas, objects, attended = head(regions, queries)
        moved = [head.bbox_coder.decode(b, d, size=geometry.size) for b, d, geometry in zip(boxes, deltas, geometries)]
        return Stage(logits, moved, objects, attended)

    def predict(  # type: ignore[override]
        self,
        features: Sequence[Tensor],
        proposals: Sequence[Tensor],
        queries: Tensor,
        geometries: Sequence[ImageGeometry],
    ) -> list[Detections]:
        """Detections per image, boxes in input and masks in output coordinates.

        features: per level (N, C, H, W). proposals: per image (Q, 4) xyxy. queries: (N, Q, C).
        """
        boxes = list(proposals)
        for stage in range(self.num_stages):
            last = self.run_stage(stage, features, boxes, queries, geometries)
            boxes, queries = [b.detach() for b in last.boxes], last.objects
        chosen = [self.best(x) for x in cast(DIIHead, self.bbox_head[-1]).scores(last.logits)]
        detections = [Detections(b[query], scores, labels) for b, (scores, query, labels) in zip(boxes, chosen)]
        if self.mask_head is not None:
            self.add_masks(features, last, [query for _, query, _ in chosen], detections, geometries)
        return detections

    def best(self, scores: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, query indices and labels of the best `max_per_img` pairs. scores: (Q, num_classes)."""
        kept, order = scores.flatten().topk(min(self.test_cfg["max_per_img"], scores.numel()))
        return kept, order // scores.shape[1], order % scores.shape[1]

    def add_masks(
        self,
        features: Sequence[Tensor],
        last: Stage,
        queries: Sequence[Tensor],
        detections: Sequence[Detections],
        geometries: Sequence[ImageGeometry],
    ) -> None:
        """Give the detections their masks, from the last stage. queries: per image (K,), whose detection it is."""
        head = cast(DynamicMaskHead, self.final_mask_head)
        attended = torch.cat([x[query] for x, query in zip(last.attended, queries)])
        regions = (self.mask_roi_extractor or self.bbox_roi_extractor)[-1](
            features, rois_of([d.boxes for d in detections])
        )
        masks = head.probabilities(head(regions, attended), torch.cat([d.labels for d in detections]))
        for d, part, geometry in zip(detections, split(masks, counts(detections)), geometries):
            d.masks = head.paste(part, d.boxes, geometry, self.test_cfg)
