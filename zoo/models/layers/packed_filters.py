"""Filters that `winograd` packed, kept as long as the weight that they were made of."""

from __future__ import annotations

from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from zoo.models.layers.winograd import Filters, pack

KEPT = WeakTensorKeyDictionary()
"""Filters by their weight, as long as that is used anywhere."""


def packed(weight: Tensor) -> Filters:
    """What `winograd.convolve` needs of a weight (K, C, 3, 3) as it is now, whatever changed it since the last call."""
    filters: Filters | None = KEPT.get(weight)
    if filters is None or not filters.are_for(weight):
        KEPT[weight] = filters = pack(weight)
    return filters


def forget(weight: Tensor) -> None:
    """Free what is kept for a weight."""
    KEPT.pop(weight, None)
