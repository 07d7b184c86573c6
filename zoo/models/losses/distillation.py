"""Learning from a teacher's outputs (Hinton et al., Distilling the Knowledge in a Neural Network, 2015)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from zoo.models.losses.reduction import reduce_loss


class KnowledgeDistillationKLDivLoss:
    """Kullback-Leibler divergence from a teacher's distribution, both softened. T: by this temperature."""

    def __init__(self, reduction: str = "mean", loss_weight: float = 1.0, T: int = 10) -> None:
        self.reduction, self.loss_weight, self.temperature = reduction, loss_weight, T

    def __call__(
        self,
        logits: Tensor,
        teacher: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
    ) -> Tensor:
        """The loss of logits (K, n), the mean over n, against a teacher's logits (K, n). weight: (K,)."""
        wanted = (teacher.detach() / self.temperature).softmax(dim=1)
        result = (logits / self.temperature).log_softmax(dim=1)
        loss = F.kl_div(result, wanted, reduction="none").mean(dim=1) * self.temperature**2
        return self.loss_weight * reduce_loss(loss, weight, self.reduction, avg_factor)
