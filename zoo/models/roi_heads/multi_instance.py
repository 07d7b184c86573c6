"""CrowdDet's second stage: two boxes for each region (Chu et al., One Proposal, Multiple Predictions, 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.box_ops import pairwise_iou
from zoo.models.layers.linear import fc_stack, run_fcs
from zoo.models.layers.precision import full_precision
from zoo.models.roi_heads.bbox_head import RegionHead
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.standard import StandardRoIHead, split
from zoo.structures import Detections, ImageGeometry

INSTANCES = 2
FOREGROUND = 1
"""Column of a region's class logits; the background comes first here."""
REPEATS = 4
"""So often the first prediction is repeated as the input of the second."""


class MultiInstanceBBoxHead(RegionHead):
    """Predictors for each of the boxes of a region, of one class.

    with_refine: predictions are made again, from the features and the first ones.
    """

    def __init__(
        self,
        num_instance: int = INSTANCES,
        with_refine: bool = False,
        num_shared_fcs: int = 2,
        in_channels: int = 256,
        fc_out_channels: int = 1024,
        roi_feat_size: int = 7,
        num_classes: int = 1,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, **kwargs)
        if num_instance != INSTANCES or num_classes != 1:
            raise BuildError("MultiInstanceBBoxHead: only two boxes per region, of one class, are known")
        self.shared_fcs, channels = fc_stack(num_shared_fcs, in_channels * roi_feat_size**2, fc_out_channels)
        self.fc_cls: nn.ModuleList = predictors(channels, 2, 0.01)
        self.fc_reg: nn.ModuleList = predictors(channels, 4, 0.001)
        self.shared_fcs_ref = None
        if with_refine:
            self.shared_fcs_ref = nn.Linear(channels + 5 * REPEATS, channels)
            self.fc_cls_ref, self.fc_reg_ref = predictors(channels, 2, 0.01), predictors(channels, 4, 0.001)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Region features (M, C, h, w) to class logits (M, 2, 2) and deltas (M, 2, 4).

        With refinement the refined ones come behind the first ones.
        """
        x = run_fcs(self.shared_fcs, x.flatten(1))
        logits = torch.stack([fc(x) for fc in self.fc_cls], dim=1)
        deltas = torch.stack([fc(x) for fc in self.fc_reg], dim=1)
        if self.shared_fcs_ref is None:
            return logits, deltas
        again = torch.cat([deltas, logits.softmax(-1)[..., FOREGROUND:]], dim=2).repeat(1, 1, REPEATS)
        both = F.relu(self.shared_fcs_ref(torch.cat([x[:, None].expand(-1, INSTANCES, -1), again], dim=2)))
        refined = [
            torch.stack([fc(both[:, i]) for i, fc in enumerate(fcs)], 1) for fcs in (self.fc_cls_ref, self.fc_reg_ref)
        ]
        return logits, deltas, *refined

    def predict(
        self,
        regions: Tensor,
        logits: Tensor,
        deltas: Tensor | None,
        geometry: ImageGeometry,
        cfg: Mapping[str, Any],
    ) -> Detections:
        """One image's detections, from logits (M, 2, 2) and deltas (M, 2, 4), in input coordinates."""
        assert deltas is not None
        scores = logits.softmax(-1)[..., FOREGROUND].flatten()
        boxes = self.bbox_coder.decode(
            regions.repeat_interleave(INSTANCES, 0), deltas.flatten(0, 1), size=geometry.size
        )
        sources = torch.arange(len(regions), device=boxes.device).repeat_interleave(INSTANCES)
        keep = set_nms(boxes, scores, sources, cfg["score_thr"], cfg["nms"]["iou_threshold"])
        # The reference keeps the first ones of the proposals, not the best of them.
        keep = keep[: cfg["max_per_img"]] if cfg["max_per_img"] > 0 else keep
        kept, order = scores[keep].sort(descending=True, stable=True)
        return Detections(boxes[keep][order], kept, torch.zeros_like(order))


class MultiInstanceRoIHead(StandardRoIHead):
    """A box head with two predictions for every region. num_instance: so many."""

    def __init__(
        self,
        bbox_roi_extractor: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        num_instance: int = INSTANCES,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        head = {**bbox_head, "num_instance": num_instance}
        super().__init__(bbox_roi_extractor, head, train_cfg=train_cfg, test_cfg=test_cfg)

    def predict_boxes(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """Detections in input coordinates, from the last predictions that there are."""
        logits, deltas = full_precision(self.box_outputs(features, rois_of(proposals)))[-2:]
        sizes = [p.shape[0] for p in proposals]
        return [
            self.bbox_head.predict(p, c, d, geometry, self.test_cfg)
            for p, c, d, geometry in zip(proposals, split(logits, sizes), split(deltas, sizes), geometries)
        ]


def predictors(before: int, after: int, std: float) -> nn.ModuleList:
    """A linear layer for each of a region's boxes."""
    layers = nn.ModuleList(nn.Linear(before, after) for _ in range(INSTANCES))
    for layer in layers:
        nn.init.normal_(layer.weight, std=std)  # type: ignore[arg-type]
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layers


def set_nms(boxes: Tensor, scores: Tensor, sources: Tensor, score_thr: float, iou_threshold: float) -> Tensor:
    """Suppression that spares boxes of the same region (section 3.3). Indices of the survivors, in order.

    boxes: (K, 4) xyxy. scores: (K,). sources: (K,), the region that each box comes from.
    """
    candidates = (scores > score_thr).nonzero().flatten()
    order = candidates[scores[candidates].sort(descending=True).indices]
    conflicts = (pairwise_iou(boxes[order], boxes[order]) > iou_threshold) & (sources[order, None] != sources[order])
    keep, rows = torch.ones(len(order), dtype=torch.bool), conflicts.cpu()
    for i in range(len(order)):
        if keep[i]:
            keep[i + 1 :] &= ~rows[i, i + 1 :]
    return order[keep.to(order.device)].sort().values
