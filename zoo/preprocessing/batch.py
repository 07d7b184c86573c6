"""Images of different sizes as one batch."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


def pad_to_batch(images: Sequence[Tensor]) -> Tensor:
    """Images (3, H, W) as one (N, 3, max H, max W), zeros on the right and at the bottom."""
    height, width = (max(image.shape[axis] for image in images) for axis in (1, 2))
    batch = images[0].new_zeros((len(images), 3, height, width))
    for row, image in zip(batch, images):
        row[:, : image.shape[1], : image.shape[2]] = image
    return batch
