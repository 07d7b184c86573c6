"""Mask Scoring R-CNN: how good is a mask, apart from how sure its class is (Huang et al., 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.build import component
from zoo.models.layers.linear import fc_stack, run_fcs
from zoo.models.roi_heads.extractor import rois_of
from zoo.models.roi_heads.protocols import present
from zoo.models.roi_heads.standard import StandardRoIHead, counts, split
from zoo.structures import Detections, ImageGeometry

MSE = {"type": "MSELoss", "loss_weight": 0.5}


class MaskScoringRoIHead(StandardRoIHead):
    """Box and mask head, and a head that predicts each mask's IoU.

    The detections' `mask_scores` are their scores times the predicted IoU; mask AP ranks by them, box AP by `scores`.
    """

    def __init__(self, mask_iou_head: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_iou_head = component(mask_iou_head)

    def predict_masks(
        self, features: Sequence[Tensor], detections: list[Detections], geometries: Sequence[ImageGeometry]
    ) -> None:
        """Give the detections their masks and mask scores."""
        labels, sizes = torch.cat([d.labels for d in detections]), counts(detections)
        x = self.mask_features(features, rois_of([d.boxes for d in detections]))
        head = present(self.mask_head)
        masks = head.probabilities(head(x), labels)
        ious = self.mask_iou_head(x, masks)[torch.arange(labels.shape[0], device=labels.device), labels]
        for d, part, iou, geometry in zip(detections, split(masks, sizes), split(ious, sizes), geometries):
            d.masks = head.paste(part, d.boxes, geometry, self.test_cfg)
            d.mask_scores = d.scores * iou


class MaskIoUHead(nn.Module):
    """IoU of a predicted mask with the true one, for every class, from the mask and the region's features."""

    def __init__(
        self,
        num_convs: int = 4,
        num_fcs: int = 2,
        roi_feat_size: int = 14,
        in_channels: int = 256,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        num_classes: int = 80,
        loss_iou: Mapping[str, Any] = MSE,
    ) -> None:
        super().__init__()
        self.num_classes, self.loss_cfg = num_classes, {"iou": loss_iou}
        self.convs = nn.ModuleList(
            nn.Conv2d(
                in_channels + 1 if i == 0 else conv_out_channels,
                conv_out_channels,
                3,
                stride=2 if i == num_convs - 1 else 1,
                padding=1,
            )
            for i in range(num_convs)
        )
        self.fcs, channels = fc_stack(num_fcs, conv_out_channels * (roi_feat_size // 2) ** 2, fc_out_channels)
        self.fc_mask_iou = nn.Linear(channels, num_classes)
        self.max_pool = nn.MaxPool2d(2, 2)
        nn.init.normal_(self.fc_mask_iou.weight, std=0.01)

    def forward(self, x: Tensor, masks: Tensor) -> Tensor:
        """IoUs (M, num_classes) of masks.

        x: region features (M, C, h, w). masks: (M, 2 * h, 2 * w) probabilities of the regions' classes.
        """
        x = torch.cat([x, self.max_pool(masks[:, None])], dim=1)
        for layer in self.convs:
            x = F.relu(layer(x))
        return self.fc_mask_iou(run_fcs(self.fcs, x.flatten(1)))
