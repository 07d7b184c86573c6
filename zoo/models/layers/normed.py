"""Predictors that compare directions: weights and inputs are normalized (Wang et al., Seesaw Loss, 2021)."""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn


class NormedLinear(nn.Linear):
    """A linear layer on unit vectors, scaled by a temperature. tempearture: spelled as published."""

    def __init__(
        self, *args: Any, tempearture: float = 20, power: float = 1.0, eps: float = 1e-6, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.tempearture, self.power, self.eps = tempearture, power, eps

    def forward(self, x: Tensor) -> Tensor:
        """(M, in_features) to (M, out_features)."""
        x = unit(x, self.power, self.eps) * self.tempearture
        return F.linear(x, unit(self.weight, self.power, self.eps), self.bias)


class NormedConv2d(nn.Conv2d):
    """A convolution on unit vectors along the channels, scaled by a temperature. tempearture: spelled as published.

    norm_over_kernel: weights are normalized over the whole kernel, instead of at each of its positions.
    """

    def __init__(
        self,
        *args: Any,
        tempearture: float = 20,
        power: float = 1.0,
        eps: float = 1e-6,
        norm_over_kernel: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.tempearture, self.power, self.eps, self.norm_over_kernel = tempearture, power, eps, norm_over_kernel

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        weight = self.weight.flatten(1) if self.norm_over_kernel else self.weight
        weight = unit(weight, self.power, self.eps).view_as(self.weight)
        return self._conv_forward(unit(x, self.power, self.eps) * self.tempearture, weight, self.bias)


def unit(x: Tensor, power: float, eps: float) -> Tensor:
    """`x` over its length along dimension 1, raised to a power."""
    return x / (x.norm(dim=1, keepdim=True).pow(power) + eps)
