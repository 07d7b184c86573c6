"""Convolutions with standardized weights (Qiao et al., Weight Standardization, 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

# Networks of these layers multiply a difference in the last digit by a thousand. So the statistics are computed step by
# step as the reference does, not by `torch.std_mean`.
EPS = 1e-5


class ConvWS(nn.Conv2d):
    """A convolution whose filters have mean 0 and standard deviation 1. The arguments are those of `Conv2d`."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        flat = self.weight.flatten(1)
        mean, std = per_filter(flat.mean(dim=1)), per_filter(flat.std(dim=1))
        return self._conv_forward(x, (self.weight - mean) / (std + EPS), self.bias)


class ConvAWS(nn.Conv2d):
    """A convolution whose filters have a stored mean and standard deviation (DetectoRS, section 4.3).

    So that pretrained weights act as they did in a plain convolution: `weight_gamma` and `weight_beta`, (out_channels,
    1, 1, 1), hold what their standardization takes away. The arguments are those of `Conv2d`.
    """

    weight_gamma: Tensor
    weight_beta: Tensor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.register_buffer("weight_gamma", torch.ones(self.out_channels, 1, 1, 1))
        self.register_buffer("weight_beta", torch.zeros(self.out_channels, 1, 1, 1))

    def standardized(self) -> Tensor:
        """The weight that convolves."""
        flat = self.weight.flatten(1)
        mean, variance = per_filter(flat.mean(dim=1)), per_filter(flat.var(dim=1))
        return self.weight_gamma * (self.weight - mean) / (variance + EPS).sqrt() + self.weight_beta

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        return self._conv_forward(x, self.standardized(), self.bias)


def per_filter(values: Tensor) -> Tensor:
    """(out_channels,) as (out_channels, 1, 1, 1)."""
    return values[:, None, None, None]
