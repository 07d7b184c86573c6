"""The second stage of Faster and Mask R-CNN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, overload

from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.precision import full_precision
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import (
    BoxDeltas,
    BoxHead,
    BoxOutputs,
    Extractor,
    KeypointHead,
    MaskHead,
    Shared,
    present,
)
from zoo.structures import Detections, ImageGeometry


class StandardRoIHead(nn.Module):
    """Box head, and optionally mask and keypoint heads, each on features of its own extractor.

    shared_head: a stage in front of the box and mask heads (C4). Without an extractor of its own, the mask head uses
    the box head's.
    """

    def __init__(
        self,
        bbox_roi_extractor: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        mask_roi_extractor: Mapping[str, Any] | None = None,
        mask_head: Mapping[str, Any] | None = None,
        shared_head: Mapping[str, Any] | None = None,
        keypoint_roi_extractor: Mapping[str, Any] | None = None,
        keypoint_head: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.train_cfg, self.test_cfg = train_cfg or {}, test_cfg or {}
        self.shared_head: Shared | None = component(shared_head) if shared_head else None
        self.bbox_roi_extractor: Extractor = component(bbox_roi_extractor)
        self.bbox_head: BoxHead = component(bbox_head)
        self.mask_head: MaskHead | None = component(mask_head) if mask_head else None
        self.mask_roi_extractor: Extractor | None = None
        if mask_head and mask_roi_extractor:
            self.mask_roi_extractor = component(mask_roi_extractor)
        self.keypoint_head: KeypointHead | None = None
        if keypoint_head:
            self.keypoint_head = component(keypoint_head)
            self.keypoint_roi_extractor: Extractor = component(keypoint_roi_extractor or bbox_roi_extractor)

    def predict(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """Detections per image, boxes and keypoints in input and masks in output coordinates.

        features: per level (N, C, H, W). proposals: per image (M, 4) xyxy.
        """
        detections = self.predict_boxes(features, proposals, geometries)
        if self.mask_head is not None:
            self.predict_masks(features, detections, geometries)
        if self.keypoint_head is not None:
            self.predict_keypoints(features, detections)
        return detections

    def predict_boxes(
        self, features: Sequence[Tensor], proposals: Sequence[Tensor], geometries: Sequence[ImageGeometry]
    ) -> list[Detections]:
        """Detections without masks, in input coordinates."""
        sizes = [p.shape[0] for p in proposals]
        logits, deltas = full_precision(self.box_outputs(features, rois_of(proposals)))
        return [
            self.bbox_head.predict(p, c, d, geometry, self.test_cfg)
            for p, c, d, geometry in zip(proposals, split(logits, sizes), split(deltas, sizes), geometries)
        ]

    def box_outputs(self, features: Sequence[Tensor], rois: Tensor) -> BoxOutputs:
        """Class logits and deltas of regions (M, 5)."""
        return self.bbox_head(self.share(self.bbox_roi_extractor(features, rois)))

    def share(self, x: Tensor) -> Tensor:
        """Region features behind the shared stage, where there is one."""
        return self.shared_head(x) if self.shared_head is not None else x

    def mask_logits(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Mask logits (K, num_classes, h, w) of regions (K, 5)."""
        return present(self.mask_head)(self.mask_features(features, rois))

    def mask_features(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """What the mask head sees of regions (K, 5)."""
        extractor = self.mask_roi_extractor or self.bbox_roi_extractor
        return self.share(extractor(features, rois))

    def predict_masks(
        self, features: Sequence[Tensor], detections: list[Detections], geometries: Sequence[ImageGeometry]
    ) -> None:
        """Give the detections their masks."""
        head, logits = present(self.mask_head), self.mask_logits(features, rois_of([d.boxes for d in detections]))
        for d, part, geometry in zip(detections, split(logits, counts(detections)), geometries):
            masks = head.probabilities(part, d.labels)
            d.masks = head.paste(masks, d.boxes, geometry, self.test_cfg)

    def keypoint_heatmaps(self, features: Sequence[Tensor], rois: Tensor) -> Tensor:
        """Heatmaps of logits (K, P, S, S) of regions (K, 5)."""
        return present(self.keypoint_head)(self.keypoint_roi_extractor(features, rois))

    def predict_keypoints(self, features: Sequence[Tensor], detections: list[Detections]) -> None:
        """Give the detections their keypoints, in input coordinates."""
        heatmaps = full_precision(self.keypoint_heatmaps(features, rois_of([d.boxes for d in detections])))
        for d, part in zip(detections, split(heatmaps, counts(detections))):
            d.keypoints = present(self.keypoint_head).decode(part, d.boxes)


class CoStandardRoIHead(StandardRoIHead):
    """The same; Co-DETR makes queries of its positive regions in training (Zong et al., 2023)."""


class DynamicRoIHead(StandardRoIHead):
    """Dynamic R-CNN (Zhang et al., 2020) differs in training: its IoU threshold and loss follow the proposals."""


class PISARoIHead(StandardRoIHead):
    """PISA (Cao et al., 2019) differs in training: samples are weighted by how important they are."""


def counts(detections: Sequence[Detections]) -> list[int]:
    """Detections per image; in an exported graph these are no numbers yet, which `len` would ask for."""
    return [d.scores.shape[0] for d in detections]


@overload
def split(x: Tensor, counts: Sequence[int]) -> Sequence[Tensor]: ...


@overload
def split(x: BoxDeltas, counts: Sequence[int]) -> Sequence[BoxDeltas]: ...


def split(x: BoxDeltas, counts: Sequence[int]) -> Sequence[BoxDeltas]:
    """Regions' outputs image by image; None stays None, a tuple of tensors is split as a whole."""
    if x is None:
        return [None] * len(counts)
    if len(counts) == 1:
        return [x]
    if isinstance(x, tuple):
        return list(zip(*(split(part, counts) for part in x)))
    return x.split(list(counts))
