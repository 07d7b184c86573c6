"""DDOD's head (Chen et al., Disentangle Your Dense Object Detector, 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.models.dense_heads.anchor_head import SIGMOID
from zoo.models.dense_heads.atss import ATSSHead

DCN = {"type": "DCN", "deform_groups": 1}


class DDODHead(ATSSHead):
    """ATSS's layers, but each tower starts with its own deformable convolution, and quality is the expected IoU."""

    quality = "atss_iou"

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        use_dcn: bool = True,
        loss_iou: Mapping[str, Any] = SIGMOID,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, first_conv_cfg=DCN if use_dcn else None, **kwargs)
        self.loss_cfg["iou"] = loss_iou
