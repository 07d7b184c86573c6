"""SparseInst's matching of instances with objects (Cheng et al., 2022, equation 4)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.targets import GroundTruth


class SparseInstMatcher:
    """One to one, so that the sum of Dice coefficient ** `alpha` * class score ** `beta` is greatest."""

    def __init__(self, alpha: float = 0.8, beta: float = 0.2) -> None:
        self.alpha, self.beta = alpha, beta

    @torch.no_grad()
    def cost(self, logits: Tensor, masks: Tensor, wanted: Tensor, ground_truth: GroundTruth) -> Tensor:
        """What it costs to match each instance with each object, (Q, M).

        logits: (Q, C). masks: (Q, H, W) logits. wanted: (M, H, W), the objects' masks at that resolution.
        """
        soft, wanted = masks.flatten(1).sigmoid(), wanted.flatten(1)
        dice = 2 * soft @ wanted.T / (soft.square().sum(dim=1)[:, None] + wanted.square().sum(dim=1) + 1e-4)
        return -(dice**self.alpha) * logits.sigmoid()[:, ground_truth.labels] ** self.beta
