"""Collaborative hybrid assignments: other heads learn beside a query-based one (Zong et al., Co-DETR, 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.build import component
from zoo.models.criteria.co_detr import AuxiliaryHead, Candidates, anchor_losses, auxiliary_losses, region_losses
from zoo.models.criteria.protocols import StandardHead
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.base import Detector
from zoo.models.detectors.proposals import ProposalHead
from zoo.models.layers.precision import full_precision
from zoo.models.targets import GroundTruth
from zoo.models.transformer.padding import padding_mask
from zoo.structures import Detections, ImageGeometry


class CoDETR(Detector):
    """Backbone, neck and a query-based head, which alone detects; heads on regions and dense heads help in training.

    train_cfg, test_cfg: lists, first of the query head, then of the others. use_lsj: padding counts as image, since
    training pads to a fixed size. with_pos_coord: the other heads' positives become queries too.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        query_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        rpn_head: Mapping[str, Any] | None = None,
        roi_head: Sequence[Mapping[str, Any] | None] = (),
        bbox_head: Sequence[Mapping[str, Any] | None] = (),
        train_cfg: Sequence[Mapping[str, Any] | None] | None = None,
        test_cfg: Sequence[Mapping[str, Any] | None] | None = None,
        with_pos_coord: bool = True,
        use_lsj: bool = True,
        eval_module: str = "detr",
        eval_index: int = 0,
    ) -> None:
        super().__init__(backbone, neck)
        if eval_module != "detr":
            raise BuildError(f"eval_module: {eval_module} is not supported; only detr is, the query head")
        self.use_lsj, self.with_pos_coord = use_lsj, with_pos_coord
        region_heads, dense_heads = [x for x in roi_head if x], [x for x in bbox_head if x]
        count = 1 + len(region_heads) + len(dense_heads)
        train, test = (settings_of(cfg, max(count, 2)) for cfg in (train_cfg, test_cfg))
        self.query_head = component(query_head, train_cfg=train[0], test_cfg=test[0])
        self.rpn_head: ProposalHead | None = None
        if rpn_head is not None:
            self.rpn_head = component(rpn_head, train_cfg=train[1].get("rpn"), test_cfg=test[1].get("rpn"))
        self.proposal_cfg = train[1].get("rpn_proposal", test[1].get("rpn"))
        self.roi_head = nn.ModuleList(
            component(head, train_cfg=own.get("rcnn"), test_cfg=other.get("rcnn"))
            for head, own, other in zip(region_heads, train[1:], test[1:])
        )
        first = 1 + len(region_heads)
        self.bbox_head = nn.ModuleList(
            component(head, train_cfg=own, test_cfg=other)
            for head, own, other in zip(dense_heads, train[first:], test[first:])
        )

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        inside = self.contents(images, geometries)
        outputs = self.query_head(self.features(images), padding_mask(images, inside))
        detections = self.query_head.predict(full_precision(outputs[:2]), inside)
        return [d.to_output(geometry) for d, geometry in zip(detections, geometries)]

    def contents(self, images: Tensor, geometries: Sequence[ImageGeometry]) -> list[ImageGeometry]:
        """The geometries, with the whole padded input as the image where that is how training was."""
        if not self.use_lsj:
            return list(geometries)
        return [replace(geometry, size=(images.shape[2], images.shape[3])) for geometry in geometries]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The losses of all heads; a head's number is behind its losses' names."""
        geometries = self.contents(images, geometries)
        noise = self.query_head.dn_generator(ground_truths, geometries)
        padding = padding_mask(images, geometries)
        logits, boxes, proposals, memory = self.query_head(self.features(images), padding, noise)
        outputs = (logits, boxes, proposals, noise)
        losses = dense_losses(self.query_head, outputs, geometries, ground_truths)
        others, candidates = self.other_heads(self.query_head.maps(memory), geometries, ground_truths)
        losses |= others
        for i, parts in enumerate(candidates if self.with_pos_coord else ()):
            losses |= numbered(auxiliary_losses(self.query_head, i, memory, parts, geometries), i)
        return losses

    def other_heads(
        self, maps: Sequence[Tensor], geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> tuple[dict[str, Tensor], list[list[Candidates]]]:
        """The losses of the heads that only train, and what each of them learned from."""
        losses: dict[str, Tensor] = {}
        candidates: list[list[Candidates]] = []
        if self.rpn_head is not None:
            outputs = self.rpn_head(maps)
            losses |= dense_losses(self.rpn_head, outputs, geometries, ground_truths)
            with torch.no_grad():
                detections = self.rpn_head.predict(full_precision(outputs), geometries, self.proposal_cfg)
            regions = [d.boxes for d in detections]
        for head in self.roi_head:
            own, parts = region_losses(cast(StandardHead, head), maps, regions, ground_truths)
            losses |= numbered(own, len(candidates))
            candidates.append(parts)
        for head in self.bbox_head:
            own, parts = anchor_losses(cast(AuxiliaryHead, head), maps, geometries, ground_truths)
            losses |= numbered(own, len(candidates))
            candidates.append(parts)
        return losses, candidates


def settings_of(cfg: Any, count: int) -> list[dict[str, Any]]:
    """Settings for each of `count` heads, empty where there are none."""
    parts = [dict(part or {}) for part in cfg or ()]
    return parts + [{}] * (count - len(parts))


def numbered(losses: Mapping[str, Tensor], number: int) -> dict[str, Tensor]:
    """The losses with a head's number behind their names."""
    return {f"{name}{number}": value for name, value in losses.items()}
