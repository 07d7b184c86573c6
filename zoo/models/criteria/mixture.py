"""Two kinds of numbers told apart: a mixture of two normal distributions, fitted by expectation maximization."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# As in scikit-learn's GaussianMixture, which the reference uses.
STEPS, TOLERANCE, SMALLEST_VARIANCE = 100, 1e-3, 1e-6
TINY = 10 * torch.finfo(torch.float64).eps


def two_normals(values: Tensor, tied: bool = False) -> Tensor:
    """Logarithms of the joint densities (K, 2) of values (K,) under two normals, the first of which starts lowest.

    tied: both have the same variance. They start at the smallest and the largest value with a variance of one.
    """
    x = values.double().cpu()[:, None]
    means, variances = torch.stack([x.min(), x.max()]), x.new_ones(2)
    weights, before = x.new_full((2,), 0.5), -math.inf
    for _ in range(STEPS):
        joint = log_joint(x, weights, means, variances)
        total = joint.logsumexp(dim=1)
        share = (joint - total[:, None]).exp()
        counts = share.sum(dim=0) + TINY
        means = (share * x).sum(dim=0) / counts
        variances = (share * x.square()).sum(dim=0) / counts - means.square()
        if tied:
            variances = ((counts * variances).sum() / counts.sum()).expand(2)
        weights, variances = counts / counts.sum(), variances + SMALLEST_VARIANCE
        likelihood = float(total.mean())
        if abs(likelihood - before) < TOLERANCE:
            break
        before = likelihood
    return log_joint(x, weights, means, variances)


def log_joint(x: Tensor, weights: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """Logarithms (K, 2) of weight times density of values (K, 1)."""
    distance = (x - means).square() / variances
    return weights.log() - 0.5 * (math.log(2 * math.pi) + variances.log() + distance)
