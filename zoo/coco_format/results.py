"""Detections in COCO's results format (https://cocodataset.org/#format-results).

Boxes are [x, y, width, height] in pixels; masks are run-length encoded, column by column, as compressed strings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from zoo.coco_format.panoptic import INSTANCE

if TYPE_CHECKING:
    from torch import Tensor

RLE = dict[str, Any]  # {"size": [h, w], "counts": str}


def encode_masks(masks: Tensor | NDArray[np.bool_]) -> list[RLE]:
    """Masks (K, H, W) bool as COCO RLE; of each mask only its bounding box is looked at."""
    arrays = masks if isinstance(masks, np.ndarray) else masks.cpu().numpy()
    return [encode(mask, columns) for mask, columns in zip(arrays, np.asarray(arrays.any(axis=1)))]


def encode(mask: NDArray[np.bool_], occupied: NDArray[np.bool_]) -> RLE:
    """One mask (H, W) as RLE; occupied: (W,), whether a column has any pixel of it."""
    height, width = mask.shape
    columns = np.flatnonzero(occupied)
    if not len(columns):
        return compress([height * width], height, width)
    left, right = columns[0], columns[-1] + 1
    rows = np.flatnonzero(mask[:, left:right].any(axis=1))
    top, bottom = rows[0], rows[-1] + 1
    edges = edges_by_column(mask[top:bottom, left:right])
    positions = (edges[:, 0] + left) * height + edges[:, 1] + top
    return compress(run_lengths(positions, height * width), height, width)


def edges_by_column(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """(column, row) where a mask (H, W) begins and ends, in turns; at the end of each column it ends."""
    padded = np.zeros((mask.shape[1], mask.shape[0] + 1), bool)
    padded[:, :-1] = mask.T
    flat = padded.reshape(-1)
    changes = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    if flat[0]:
        changes = np.concatenate([[0], changes])
    return np.stack(np.divmod(changes, padded.shape[1]), axis=1)


def run_lengths(positions: NDArray[np.int64], total: int) -> list[int]:
    """Lengths of the runs between `positions`, from 0 to `total`; a run that goes on in the next column is one."""
    goes_on = np.flatnonzero(positions[1:-1:2] == positions[2::2])
    positions = np.delete(positions, np.concatenate([2 * goes_on + 1, 2 * goes_on + 2]))
    runs = np.diff(np.concatenate([[0], positions, [total]]))
    return runs.tolist() if runs[-1] else runs[:-1].tolist()


def compress(runs: list[int], height: int, width: int) -> RLE:
    """Run lengths (background first) as COCO's compressed string."""
    rle = coco_mask.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    return {"size": [height, width], "counts": rle["counts"].decode("ascii")}


def to_results(
    image_id: int | float | str,
    boxes: NDArray[np.float32],
    scores: NDArray[np.float32],
    labels: NDArray[np.int64],
    masks: Iterable[RLE] | None = None,
    category_ids: Sequence[int] | None = None,
    mask_scores: NDArray[np.float32] | None = None,
    keypoints: NDArray[np.float32] | None = None,
) -> list[dict[str, Any]]:
    """One image's detections as COCO results, in the given order.

    boxes: (K, 4) xyxy. category_ids: the dataset's category for each label; by default the label itself, from 0.
    mask_scores: (K,) where masks have scores of their own; a further field `mask_score` of the rows. keypoints:
    (K, P, 3) as x, y, score in indices of pixels; `keypoints` of the rows has them one after the other.
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
    for row, points in zip(rows, () if keypoints is None else keypoints.astype(np.float64)):
        row["keypoints"] = points.flatten().tolist()
    return rows


def panoptic_results(
    image_id: int | float | str, panoptic: NDArray[np.int64], void: int
) -> tuple[list[dict[str, Any]], NDArray[np.int64]]:
    """One row per segment of a panoptic map (H, W), and their labels: box, mask and area; segments have no score.

    void: the label that stands for no segment. A row's category is the label itself.
    """
    segments = np.unique(panoptic)
    segments = segments[(segments >= 0) & (segments % INSTANCE != void)]
    masks = [compress_mask(panoptic == segment) for segment in segments]
    rows = [
        {
            "image_id": image_id,
            "category_id": int(segment % INSTANCE),
            "bbox": coco_mask.toBbox(mask).tolist(),
            "area": int(coco_mask.area(mask)),
            "segmentation": mask,
        }
        for segment, mask in zip(segments, masks)
    ]
    return rows, segments % INSTANCE


def compress_mask(mask: NDArray[np.bool_]) -> RLE:
    """One mask (H, W) as RLE."""
    return encode(mask, np.asarray(mask.any(axis=0)))


# COCO numbers its 80 classes from 1 to 90, leaving these out, and the 53 kinds of stuff of its panoptic task so.
_UNUSED = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
_STUFF = (92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138, 141, 144, 145, 147, 148, 149, 151)
_STUFF += (154, 155, 156, 159, 161, 166, 168, 171, *range(175, 179), 180, 181, *range(184, 201))


def category_ids(classes: Sequence[str]) -> list[int]:
    """The category id of each label: COCO's own for COCO's 80 classes and its stuff, from 1 for any other."""
    if len(classes) not in (80, 133) or tuple(classes[:2]) != ("person", "bicycle") or classes[79] != "toothbrush":
        return list(range(1, len(classes) + 1))
    things = [number for number in range(1, 91) if number not in _UNUSED]
    return [*things, *_STUFF][: len(classes)]
