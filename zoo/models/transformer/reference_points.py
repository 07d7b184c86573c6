"""Points and boxes in logit space, as decoders move them from layer to layer."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from zoo.models.transformer.inverse_sigmoid import inverse_sigmoid


def moved(points: Tensor, deltas: Tensor, eps: float = 1e-5) -> Tensor:
    """Boxes (..., 4) cxcywh in [0, 1]: points (..., 2) or boxes (..., 4) moved by deltas (..., 4) in logit space."""
    return (deltas + pad_to_box(inverse_sigmoid(points, eps))).sigmoid()


def pad_to_box(logits: Tensor) -> Tensor:
    """Coordinates (..., 2 or 4) as (..., 4), zeros for a missing size."""
    return F.pad(logits, (0, 4 - logits.shape[-1]))
