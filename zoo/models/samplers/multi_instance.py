"""Sampling of regions that stand for several objects (Chu et al., CrowdDet, 2020)."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.samplers.random import choose


class MultiInsRandomSampler:
    """`num` regions, at most `pos_fraction` of them positive and at most `neg_pos_ub` negatives per positive.

    add_gt_as_proposals has no effect: the objects' own boxes always are candidates.
    """

    def __init__(self, num: int, pos_fraction: float, neg_pos_ub: float = -1, add_gt_as_proposals: bool = True) -> None:
        self.num, self.pos_fraction, self.neg_pos_ub = num, pos_fraction, neg_pos_ub

    def sample(self, labels: Tensor) -> Tensor:
        """Indices of the sampled regions, positives first, by the labels (P, k) of their objects; the first decides."""
        positive = choose((labels[:, 0] > 0).nonzero().flatten(), int(self.num * self.pos_fraction)).sort().values
        wanted = self.num - len(positive)
        if self.neg_pos_ub >= 0:
            wanted = min(wanted, int(self.neg_pos_ub * max(1, len(positive))))
        negative = choose((labels[:, 0] == 0).nonzero().flatten(), wanted).sort().values
        return torch.cat([positive, negative])
