"""Detections that stand several times in a file: exact copies, and boxes that non-maximum suppression would remove."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from benchmarks.doctor.case import Floats

COPIES = 0.02  # share of rows that are copies, before they are suspected
IOU = 0.7  # above what detectors suppress


def suppressed(table: Floats) -> Iterator[tuple[str, str, NDArray[np.int64]]]:
    """(key, sentence, positions in the file that remain). table: as `State.table` gives it."""
    first = np.unique(table[:, :7], axis=0, return_index=True)[1]
    if len(first) < (1 - COPIES) * len(table):
        share = 1 - len(first) / len(table)
        yield "copies", f"{share:.0%} of the detections are exact copies of others.", table[first, 7].astype(int)
    kept = after_nms(table)
    if len(kept) < 0.9 * len(table):
        sentence = (
            f"Non-maximum suppression is missing: {1 - len(kept) / len(table):.0%} of the detections overlap better "
        )
        yield "no-nms", sentence + f"ones of their class by more than {IOU}.", table[kept, 7].astype(int)


def after_nms(table: Floats) -> NDArray[np.int64]:
    """Indices of the rows that remain, image by image and class by class."""
    import torch
    from torchvision.ops import batched_nms

    corners = np.column_stack([table[:, 1:3], table[:, 1:3] + table[:, 3:5]])
    groups = table[:, 0] * 1e5 + table[:, 6]
    index = np.unique(groups, return_inverse=True)[1]
    parts = (torch.from_numpy(np.ascontiguousarray(part)) for part in (corners, table[:, 5], index.reshape(-1)))
    return np.asarray(batched_nms(*parts, IOU).numpy(), np.int64)
