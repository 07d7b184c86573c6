"""Box deltas of MMDetection 1.x, where the last pixel is part of a box."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.coders.delta import MAX_RATIO, DeltaXYWHCoder


class LegacyDeltaXYWHCoder(DeltaXYWHCoder):
    """Sizes are one pixel larger than the difference of the coordinates.

    Decoded boxes stay half a pixel larger on every side, as MMDetection 2.x evaluates the old checkpoints.
    """

    def encode(self, priors: Tensor, boxes: Tensor) -> Tensor:
        """Deltas (..., 4) that turn `priors` into `boxes`, both (..., 4) xyxy."""
        return super().encode(grown(priors), grown(boxes))

    def decode(
        self, priors: Tensor, deltas: Tensor, size: tuple[int, int] | None = None, max_log_scale: float = MAX_RATIO
    ) -> Tensor:
        """Boxes shaped like `deltas` from priors (K, 4) and deltas (K, 4 or C * 4). size: (h, w) to clip to."""
        limits = None if size is None else (size[0] - 1, size[1] - 1)
        return super().decode(grown(priors), deltas, limits, max_log_scale)


def grown(boxes: Tensor) -> Tensor:
    """Boxes (..., 4) half a pixel larger on every side: same center, sizes that count the last pixel."""
    return torch.cat([boxes[..., :2] - 0.5, boxes[..., 2:] + 0.5], dim=-1)
