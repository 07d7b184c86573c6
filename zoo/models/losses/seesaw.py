"""Seesaw loss for many classes of very different frequency (Wang et al., 2020)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.losses.base import Loss


class SeesawLoss(Loss):
    """Cross entropy in which rare classes are punished less as wrong classes; objectness is learned apart.

    p: power of the ratio of two classes' frequencies so far (mitigation). q: power of how much surer the wrong class is
    (compensation). eps: least score of the right class. memory: where the frequencies live between calls.
    """

    def __init__(
        self,
        use_sigmoid: bool = False,
        p: float = 0.8,
        q: float = 2.0,
        num_classes: int = 1203,
        eps: float = 1e-2,
        reduction: str = "mean",
        loss_weight: float = 1.0,
        return_dict: bool = True,
        memory: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.p, self.q, self.classes, self.eps = p, q, num_classes, eps
        self.parts = return_dict
        self.memory = {} if memory is None else memory

    def __call__(
        self,
        x: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Any:
        """The loss of logits `x` (K, C + 2), of the classes, of being an object and of being none, against labels (K,).

        Returns `loss_cls_objectness` and `loss_cls_classes`, or their sum. weight: (K,).
        """
        counts = self.counted(target, x)
        weight = torch.ones_like(x[:, 0]) if weight is None else weight
        positive = target < self.classes
        of_class, of_object = x[:, :-2], x[:, -2:]
        losses = self.of_classes(of_class[positive], target[positive], counts)
        objectness = F.cross_entropy(of_object, (~positive).long(), reduction="none")
        result = {
            "loss_cls_objectness": self.reduced(objectness, weight, avg_factor, reduction),
            "loss_cls_classes": self.reduced(losses, weight[positive], avg_factor, reduction)
            if len(losses)
            else of_class.sum() * 0,
        }
        return result if self.parts else result["loss_cls_objectness"] + result["loss_cls_classes"]

    def counted(self, labels: Tensor, like: Tensor) -> Tensor:
        """How often each class (C,) has come so far."""
        now = labels.bincount(minlength=self.classes + 1).to(like.dtype)
        total = self.memory.get("counts", torch.zeros_like(now)).to(now) + now
        self.memory["counts"] = total
        return total[: self.classes]

    def of_classes(self, logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
        """Losses (K,) of class logits (K, C)."""
        scale = torch.ones_like(logits)
        if self.p > 0:
            ratio = counts.clamp(min=1) / counts[labels].clamp(min=1)[:, None]
            scale = scale * ratio.clamp(max=1) ** self.p
        if self.q > 0:
            scores = logits.detach().softmax(dim=1)
            own = scores.gather(1, labels[:, None]).clamp(min=self.eps)
            scale = scale * (scores / own).clamp(min=1) ** self.q
        shift = scale.log().scatter(1, labels[:, None], 0)
        return F.cross_entropy(logits + shift, labels, reduction="none")
