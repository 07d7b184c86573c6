"""An exponential moving average of weights (YOLOX's is ramped up)."""

from __future__ import annotations

import copy
import math
from typing import Generic, TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


class WeightAverage(Generic[Network]):
    """Keeps `module`, the average of a network's weights and statistics.

    After step t, average += m (weights - average) with m = 1 - (1 - momentum)(1 - exp(-(1 + t) / ramp)): the first
    steps count more, later ones by `momentum`.
    """

    def __init__(self, network: Network, momentum: float, ramp: float = 2000) -> None:
        self.module: Network = copy.deepcopy(network).eval().requires_grad_(False)
        self.momentum, self.ramp, self.steps = momentum, ramp, 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Take in the network's weights after a step; counters are copied."""
        fraction = 1 - (1 - self.momentum) * (1 - math.exp(-(1 + self.steps) / self.ramp))
        self.steps += 1
        for average, current in zip(self.module.state_dict().values(), network.state_dict().values()):
            if average.is_floating_point():
                average.lerp_(current, fraction)
            else:
                average.copy_(current)
