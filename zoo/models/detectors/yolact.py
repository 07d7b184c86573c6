"""YOLACT (Bolya et al., Real-time Instance Segmentation, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.table import dense_losses
from zoo.models.detectors.single_stage import SingleStageDetector, trained_whole
from zoo.models.layers.precision import full_precision
from zoo.models.targets import Truth
from zoo.structures import Detections, Frame


class YOLACT(SingleStageDetector):
    """Boxes with mask coefficients, and prototypes for the whole picture; a mask is their combination.

    segm_head is needed in training only.
    """

    def __init__(
        self,
        backbone: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        mask_head: Mapping[str, Any],
        segm_head: Mapping[str, Any],
        neck: Mapping[str, Any] | None = None,
        train_cfg: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(trained_whole(backbone), bbox_head, neck, train_cfg, test_cfg)
        self.segm_head, self.mask_head = component(segm_head), component(mask_head)

    def predict(self, images: Tensor, frames: Sequence[Frame], *args: Any) -> list[Detections]:
        """Detections with masks, in output coordinates."""
        features = self.features(images)
        found = self.bbox_head.predict_with_coefficients(full_precision(self.bbox_head(features)), frames)
        prototypes = full_precision(self.mask_head(features[0]))
        return [
            replace(d.to_output(frame), masks=self.mask_head.masks(maps, coefficients, d.boxes, frame))
            for (d, coefficients), maps, frame in zip(found, prototypes, frames)
        ]

    def compute_losses(self, images: Tensor, frames: Sequence[Frame], truths: Sequence[Truth]) -> dict[str, Tensor]:
        """Losses of the boxes, the segmentation and the masks."""
        features = self.features(images)
        maps = full_precision((self.mask_head(features[0]), self.segm_head(features[0])))
        return dense_losses(self.bbox_head, self.bbox_head(features), frames, truths, *maps, self)
