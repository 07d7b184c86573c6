"""Detections in COCO's results format (https://cocodataset.org/#format-results).

Boxes are [x, y, width, height] in pixels; masks are run-length encoded, column by column, as compressed strings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from torch import Tensor

RLE = dict[str, Any]  # {"size": [h, w], "counts": str}


def encode_masks(masks: Tensor) -> list[RLE]:
    """Masks (K, H, W) bool as COCO RLE; only the columns between a mask's first and last are looked at."""
    height, width = (int(n) for n in masks.shape[1:])
    occupied = masks.any(dim=1).cpu().numpy()
    return [encode_columns(mask, columns, height, width) for mask, columns in zip(masks, occupied)]


def encode_columns(mask: Tensor, occupied: NDArray[np.bool_], height: int, width: int) -> RLE:
    """One mask (H, W) as RLE; occupied: (W,), whether a column has any pixel of it."""
    columns = np.flatnonzero(occupied)
    if not len(columns):
        return compress([height * width], height, width)
    first, last = int(columns[0]), int(columns[-1]) + 1
    pixels = mask[:, first:last].t().contiguous().cpu().numpy().reshape(-1)
    padded = np.concatenate([[False], pixels, [False]])
    edges = np.flatnonzero(padded[1:] != padded[:-1]) + first * height
    runs = np.diff(np.concatenate([[0], edges, [height * width]]))
    return compress(runs.tolist() if runs[-1] else runs[:-1].tolist(), height, width)


def compress(runs: list[int], height: int, width: int) -> RLE:
    """Run lengths (background first) as COCO's compressed string."""
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def to_results(
    image_id: int | str,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    masks: Sequence[RLE] | None = None,
    category_ids: Sequence[int] | None = None,
    mask_scores: NDArray[np.float32] | None = None,
) -> list[dict[str, Any]]:
    """One picture's detections as COCO results, in the given order.

    boxes: (K, 4) xyxy. category_ids: the data set's category for each label; by default the label itself, from 0.
    mask_scores: (K,) where masks have scores of their own; a further field `mask_score` of the rows.
    """
    corners = boxes.astype(np.float64)
    corners[:, 2:] -= corners[:, :2]
    categories = labels.tolist() if category_ids is None else [category_ids[label] for label in labels.tolist()]
    rows: list[dict[str, Any]] = [
        {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
        for category, box, score in zip(categories, corners.tolist(), scores.tolist())
    ]
    for row, mask in zip(rows, masks or ()):
        row["segmentation"] = mask
    if mask_scores is not None:
        for row, score in zip(rows, mask_scores.tolist()):
            row["mask_score"] = score
    return rows


# COCO numbers its 80 classes from 1 to 90, leaving these out.
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)


def category_ids(classes: Sequence[str]) -> list[int]:
    """The category id of each label: COCO's own for COCO's 80 classes, from 1 for any other."""
    if len(classes) == 80 and tuple(classes[:2]) == ("person", "bicycle") and classes[79] == "toothbrush":
        return [number for number in range(1, 91) if number not in _UNUSED]
    return list(range(1, len(classes) + 1))
