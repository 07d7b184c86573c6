"""Detectors that propose regions first and classify them second (Girshick, 2015; Ren et al., 2015)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.build import component
from zoo.models.criteria.table import dense_losses, losses_of
from zoo.models.detectors.base import Detector
from zoo.models.detectors.proposals import ProposalHead
from zoo.models.layers.precision import full_precision
from zoo.models.roi_heads.protocols import present
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry


class RPN(Detector):
    """A region proposal network alone: its detections are the proposals, label 0."""

    def __init__(
        self,
        backbone: Mapping[str, Any],
        rpn_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck)
        self.rpn_head: ProposalHead = component(
            rpn_head, train_cfg=part(train_cfg, "rpn"), test_cfg=part(test_cfg, "rpn")
        )

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Proposals in output coordinates."""
        detections = self.rpn_head.predict(full_precision(self.rpn_head(self.features(images))), geometries)
        return [d.to_output(geometry) for d, geometry in zip(detections, geometries)]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """The head's losses."""
        return dense_losses(self.rpn_head, self.rpn_head(self.features(images)), geometries, ground_truths)


class TwoStageDetector(Detector):
    """Backbone, neck, region proposal network, and a head on the proposed regions.

    The head's `predict(features, proposals, geometries)` returns detections with boxes in input and masks in output
    coordinates.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        roi_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        rpn_head: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone, neck)
        self.rpn_head: ProposalHead | None = None
        if rpn_head is not None:
            self.rpn_head = component(rpn_head, train_cfg=part(train_cfg, "rpn"), test_cfg=part(test_cfg, "rpn"))
        self.roi_head = component(roi_head, train_cfg=part(train_cfg, "rcnn"), test_cfg=part(test_cfg, "rcnn"))
        self.train_cfg = train_cfg or {}
        if getattr(self.roi_head, "keypoint_head", None) is not None:
            self.pixel_center = self.roi_head.keypoint_head.pixel_center

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Detections in output coordinates."""
        features = self.features(images)
        proposals = self.propose(features, geometries, *args)
        detections = self.roi_head.predict(features, proposals, geometries)
        return [d.to_output(geometry) for d, geometry in zip(detections, geometries)]

    def propose(self, features: tuple[Tensor, ...], geometries: Sequence[ImageGeometry], *args: Any) -> list[Tensor]:
        """Proposals per image, (M, 4) xyxy in input coordinates."""
        head = present(self.rpn_head)
        return [d.boxes for d in head.predict(full_precision(head(features)), geometries)]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Losses of both stages; the second learns from the proposals that the first makes on the way."""
        compute = losses_of(self.roi_head)
        features = self.features(images)
        losses, proposals = self.first_stage_losses(features, geometries, ground_truths)
        return {**losses, **compute(self.roi_head, features, proposals, geometries, ground_truths)}

    def first_stage_losses(
        self, features: tuple[Tensor, ...], geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """The region proposal network's losses, and its proposals per image, (M, 4) xyxy without gradients."""
        head = present(self.rpn_head)
        outputs = head(features)
        losses = dense_losses(head, outputs, geometries, ground_truths)
        with torch.no_grad():
            cfg = self.train_cfg.get("rpn_proposal", head.test_cfg)
            detections = head.predict(full_precision(outputs), geometries, cfg)
        return losses, [d.boxes for d in detections]


class FastRCNN(TwoStageDetector):
    """The second stage alone: proposals come with the call."""

    needs_proposals = True

    def propose(self, features: tuple[Tensor, ...], geometries: Sequence[ImageGeometry], *args: Any) -> list[Tensor]:
        """The proposals that the caller gave."""
        if not args:
            given(None)
        return list(args[0])

    def first_stage_losses(
        self, features: tuple[Tensor, ...], geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> tuple[dict[str, Tensor], list[Tensor]]:
        """No losses, and the proposals that came with the targets."""
        return {}, [given(ground_truth.proposals) for ground_truth in ground_truths]


def given(proposals: Tensor | None) -> Tensor:
    """Proposals that a caller must give."""
    if proposals is None:
        raise UsageError("Fast R-CNN classifies given regions: call it with proposals=[(M, 4) boxes per image]")
    return proposals


def part(cfg: Mapping[str, Any] | None, key: str) -> Mapping[str, Any] | None:
    """One stage's settings, None where there are none."""
    return cfg.get(key) if cfg else None
