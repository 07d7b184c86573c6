"""TridentNet's second stage (Li et al., Scale-Aware Trident Networks, 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from zoo.models.layers.nms import suppress
from zoo.models.roi_heads.standard import StandardRoIHead
from zoo.structures import Detections


class TridentRoIHead(StandardRoIHead):
    """A box head for all branches. The arguments are `TridentResNet`'s for branches and `StandardRoIHead`'s."""

    def __init__(
        self,
        bbox_roi_extractor: Mapping[str, Any],
        bbox_head: Mapping[str, Any],
        num_branch: int,
        test_branch_idx: int,
        **kwargs: Any,
    ) -> None:
        super().__init__(bbox_roi_extractor, bbox_head, **kwargs)
        self.num_branch, self.test_branch_idx = num_branch, test_branch_idx

    def merge(self, detections: Sequence[Detections]) -> Detections:
        """One image's detections of all branches, suppressed once more."""
        boxes, scores = torch.cat([d.boxes for d in detections]), torch.cat([d.scores for d in detections])
        labels = torch.cat([d.labels for d in detections])
        return suppress(boxes, scores, labels, self.test_cfg["nms"], self.test_cfg["max_per_img"])
