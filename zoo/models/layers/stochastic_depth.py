"""Residual branches that are left out at random (Huang et al., Deep Networks with Stochastic Depth, 2016)."""

from __future__ import annotations

from torch import Tensor, nn


class StochasticDepth(nn.Module):
    """In training each image's branch is zero with probability `p`, and what is left is divided by 1 - `p`."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        """(N, ...) to the same shape."""
        if not self.training or self.p == 0:
            return x
        left = 1 - self.p
        factors = x.new_empty(x.shape[0], *(1 for _ in x.shape[1:])).bernoulli_(left)
        return x * (factors / left if left > 0 else factors)
