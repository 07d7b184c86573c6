"""Losses whose gradients are harmonized: common difficulties count less (Li et al., GHM, 2018)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.constants import constant
from zoo.models.losses.base import Loss
from zoo.models.losses.cross_entropy import one_hot


class Harmonizer:
    """Weights by the density of gradients, estimated in `bins` equal parts of 0 to 1.

    momentum: how much of a bin's former count stays. memory: where the counts live between calls.
    """

    def __init__(self, bins: int, momentum: float, largest: float, memory: dict[str, Any] | None) -> None:
        self.bins, self.momentum, self.memory = bins, momentum, {} if memory is None else memory
        edges = torch.arange(bins + 1).float() / bins
        self.edges = (*edges[:-1].tolist(), largest)

    def weights(self, gradient: Tensor, valid: Tensor, total: Tensor) -> Tensor:
        """Weights shaped like the sizes of the gradients, zero where not valid. total: of what they sum up to."""
        bin_index = torch.bucketize(gradient, constant(self.edges, gradient), right=True) - 1
        valid = valid & (bin_index < self.bins)
        counts = torch.stack([((bin_index == i) & valid).sum() for i in range(self.bins)]).to(gradient)
        filled = counts > 0
        density = self.moved(counts, filled) if self.momentum > 0 else counts
        per_bin = torch.where(filled, total / density.clamp(min=1e-12), 0) / filled.sum().clamp(min=1)
        return torch.where(valid, per_bin[bin_index.clamp(max=self.bins - 1)], 0)

    def moved(self, counts: Tensor, filled: Tensor) -> Tensor:
        """Moving averages of the counts; those of empty bins stay."""
        before = self.memory.get("counts", torch.zeros_like(counts)).to(counts)
        after = torch.where(filled, self.momentum * before + (1 - self.momentum) * counts, before)
        self.memory["counts"] = after
        return after


class GHMC(Loss):
    """Harmonized binary cross entropy per class (section 3.3). It averages over its own samples, level by level."""

    by_level = True

    def __init__(
        self,
        bins: int = 10,
        momentum: float = 0,
        use_sigmoid: bool = True,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        memory: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.harmonizer = Harmonizer(bins, momentum, 1 + 1e-6, memory)

    def __call__(
        self,
        x: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Tensor:
        """The loss of logits `x` (K, C) against labels (K,), C for background. weight: (K,), zero for ignored.

        avg_factor: without effect.
        """
        wanted = one_hot(target, target >= 0, x.shape[1]).to(x.dtype)
        valid = torch.ones_like(x, dtype=torch.bool) if weight is None else (weight > 0)[:, None].expand_as(x)
        total = valid.sum().clamp(min=1).to(x.dtype)
        weights = self.harmonizer.weights((x.detach().sigmoid() - wanted).abs(), valid, total)
        loss = F.binary_cross_entropy_with_logits(x, wanted, reduction="none")
        return self.reduced(loss, weights, total, reduction)


class GHMR(Loss):
    """Harmonized box regression with a smooth absolute difference (section 3.4).

    mu: below which a difference counts as small.
    """

    by_level = True

    def __init__(
        self,
        mu: float = 0.02,
        bins: int = 10,
        momentum: float = 0,
        loss_weight: float = 1.0,
        reduction: str = "mean",
        memory: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(reduction, loss_weight)
        self.harmonizer, self.mu = Harmonizer(bins, momentum, 1e3, memory), mu

    def __call__(
        self,
        x: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | Tensor | None = None,
        reduction: str | None = None,
    ) -> Tensor:
        """The loss of `x` (K, 4) against a target (K, 4). weight: (K, 4), zero for ignored. avg_factor: no effect."""
        weight = torch.ones_like(x) if weight is None else weight
        difference, total = x - target, weight.sum().clamp(min=1)
        root = (difference.square() + self.mu**2).sqrt()
        weights = self.harmonizer.weights((difference / root).abs().detach(), weight > 0, total.to(x.dtype))
        return self.reduced(root - self.mu, weights, total, reduction)
