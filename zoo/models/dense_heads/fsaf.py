"""FSAF's anchor-free branch as a head of its own (Zhu et al., Feature Selective Anchor-Free Module, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.dense_heads.retina import RetinaHead


class FSAFHead(RetinaHead):
    """RetinaNet's layers with distances instead of deltas, so what they predict cannot be negative.

    score_threshold: of the accuracy that training reports.
    """

    def __init__(self, num_classes: int, in_channels: int, score_threshold: float | None = None, **kwargs: Any) -> None:
        super().__init__(num_classes, in_channels, **kwargs)
        self.score_threshold = score_threshold
        self.relu = nn.ReLU(inplace=True)
        nn.init.constant_(self.retina_reg.bias, 0.25)  # type: ignore[arg-type]

    def forward(self, features: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Per level (N, C, H, W): class logits (N, C, H, W) and distances (N, 4, H, W) in the coder's encoding."""
        logits, distances = super().forward(features)
        return logits, [self.relu(x) for x in distances]
