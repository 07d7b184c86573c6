"""Which segments match in an image, for the panoptic quality of any weighting of the images (Kirillov et al., 2019).

The rules are panopticapi's: segments of the same category match above an IoU of 0.5, void pixels are no part of a
segment that was found, and one that lies to more than half on void or on a crowd of its category does not count.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets.files import DatasetError

Floats = NDArray[np.float64]
Rows = Sequence[Mapping[str, Any]]

IOU, HITS, WRONG, MISSED = range(4)


def read_ids(path: Path) -> NDArray[np.int64]:
    """(H, W) ids of the segments in a PNG whose colors are ids. Raises DatasetError."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DatasetError(f"{path} does not decode.")
    blue, green, red = (image[..., i].astype(np.int64) for i in range(3))
    return red + 256 * green + 65536 * blue


def counts(
    wanted: tuple[NDArray[np.int64], Rows], predicted: tuple[NDArray[np.int64], Rows], labels: Mapping[Any, int]
) -> Floats:
    """(C, 4) of an image: sum of IoU over matches, matches, wrong segments, missed segments of each category.

    wanted, predicted: maps of ids (H, W) with `segments_info`. labels: index of a category's number.
    """
    result = np.zeros((len(labels), 4))
    objects, ours = ({int(row["id"]): row for row in rows} for rows in (wanted[1], predicted[1]))
    shared = overlaps(wanted[0], predicted[0])
    sizes = {i: sum(n for (_, own), n in shared.items() if own == i) for i in ours}
    matched: set[tuple[str, int]] = set()
    for (target, own), pixels in shared.items():
        if target not in objects or own not in ours or objects[target].get("iscrowd"):
            continue
        category = objects[target]["category_id"]
        union = sizes[own] + objects[target]["area"] - pixels - shared.get((0, own), 0)
        if category == ours[own]["category_id"] and pixels / union > 0.5:
            result[labels[category], [IOU, HITS]] += (pixels / union, 1)
            matched |= {("wanted", target), ("found", own)}
    for i, row in objects.items():
        result[labels[row["category_id"]], MISSED] += ("wanted", i) not in matched and not row.get("iscrowd")
    for i, row in ours.items():
        crowds = [j for j, one in objects.items() if one.get("iscrowd") and one["category_id"] == row["category_id"]]
        excused = sum(shared.get((j, i), 0) for j in (0, *crowds))
        result[labels[row["category_id"]], WRONG] += ("found", i) not in matched and excused <= 0.5 * sizes[i]
    return result


def overlaps(first: NDArray[np.int64], second: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """Pixels that each pair of ids shares, of those that share some."""
    one, other = np.unique(first), np.unique(second)
    pairs = np.searchsorted(one, first.ravel()) * len(other) + np.searchsorted(other, second.ravel())
    pixels = np.bincount(pairs, minlength=len(one) * len(other)).reshape(len(one), len(other))
    rows, columns = pixels.nonzero()
    return {(int(one[r]), int(other[c])): int(pixels[r, c]) for r, c in zip(rows, columns)}


def weighing(table: Floats, groups: Mapping[str, NDArray[np.bool_]]) -> Callable[[Floats], dict[str, float]]:
    """pq, sq and rq of each group by weights of the images; -1 without any segment.

    table: (N, C, 4), as `counts` makes it. groups: ending of the names -> which categories (C,).
    """

    def weigh(weights: Floats) -> dict[str, float]:
        iou, hits, wrong, missed = np.tensordot(weights, table, 1).T
        present = hits + wrong + missed > 0
        of_all = hits + (wrong + missed) / 2
        qualities = {"pq": iou / np.maximum(of_all, 0.5), "sq": iou / np.maximum(hits, 1)}
        qualities["rq"] = hits / np.maximum(of_all, 0.5)
        return {
            f"{name}{ending}": float(values[present & group].mean()) if (present & group).any() else -1.0
            for ending, group in groups.items()
            for name, values in qualities.items()
        }

    return weigh
