"""Learning from a teacher's outputs (Hinton et al., Distilling the Knowledge in a Neural Network, 2015)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from zoo.models.losses.base import Loss


class KnowledgeDistillationKLDivLoss(Loss):
    """Kullback-Leibler divergence from a teacher's distribution, both softened. T: by this temperature."""

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0, T: int = 10) -> None:
        super().__init__(reduction, loss_weight)
        self.temperature = T

    def elements(self, x: Tensor, target: Tensor) -> Tensor:
        """Losses (K,), the mean over n, of logits (K, n) against a teacher's logits (K, n)."""
        wanted = (target.detach() / self.temperature).softmax(dim=1)
        result = (x / self.temperature).log_softmax(dim=1)
        return F.kl_div(result, wanted, reduction="none").mean(dim=1) * self.temperature**2
