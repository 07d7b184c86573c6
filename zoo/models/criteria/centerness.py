"""Centerness: how far inside a box a point is (Tian et al., FCOS, 2019, equation 3)."""

from __future__ import annotations

from torch import Tensor


def centerness(distances: Tensor) -> Tensor:
    """Centerness (K,) of points with distances (K, 4) to the left, top, right and bottom sides."""
    x, y = distances[:, 0::2], distances[:, 1::2]
    ratios = [side.min(dim=1).values / side.max(dim=1).values for side in (x, y)]
    return (ratios[0] * ratios[1]).sqrt()
