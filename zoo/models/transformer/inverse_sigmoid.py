"""The inverse of the sigmoid: from coordinates in [0, 1] to logits, as Deformable DETR refines them."""

from __future__ import annotations

import torch
from torch import Tensor


def inverse_sigmoid(x: Tensor, eps: float = 1e-5) -> Tensor:
    """The logit of probabilities, limited to that of `eps`."""
    x = x.clamp(0, 1)
    return torch.log(x.clamp(min=eps) / (1 - x).clamp(min=eps))
