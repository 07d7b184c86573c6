"""Masks in COCO's format: polygons, run lengths as numbers, run lengths as compressed text.

pycocotools reads run lengths without a check and writes beyond its memory where they are too long, so all of them are
checked before.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from zoo.coco_format.values import is_number

RLE = dict[str, Any]  # {"size": [h, w], "counts": text}
EMPTY = "empty"
LEAST = 6  # numbers of a polygon: three points


def problem(segmentation: Any, height: int, width: int) -> str | None:
    """What is wrong with a mask of an image of (height, width): EMPTY where there is none, a sentence, or None."""
    if segmentation is None or segmentation == []:
        return EMPTY
    if isinstance(segmentation, list):
        return polygons_problem(segmentation, height, width)
    if isinstance(segmentation, dict):
        return rle_problem(segmentation, height, width)
    return "is neither a list of polygons nor run lengths"


def polygons_problem(polygons: list[Any], height: int, width: int) -> str | None:
    """The same for polygons."""
    if not all(isinstance(polygon, list) for polygon in polygons):
        return "is not a list of polygons, each a list of x and y in turns"
    if not all(is_number(value) for polygon in polygons for value in polygon):
        return "has a coordinate that is not a finite number"
    if any(len(polygon) % 2 for polygon in polygons):
        return "has a polygon with an odd number of coordinates"
    if not usable(polygons):
        return EMPTY
    far = 10 * (max(height, width) + 100)
    if any(not -far <= value <= far for polygon in polygons for value in polygon):
        return f"has coordinates far outside the image of {width} x {height} pixels"
    return None


def usable(polygons: list[list[float]]) -> list[list[float]]:
    """The polygons with at least three points."""
    return [polygon for polygon in polygons if len(polygon) >= LEAST]


def rle_problem(rle: dict[str, Any], height: int, width: int) -> str | None:
    """The same for run lengths."""
    size, counts = rle.get("size"), rle.get("counts")
    if not (isinstance(size, list) and len(size) == 2 and all(is_number(side) for side in size)):
        return "has run lengths without a 'size' of [height, width]"
    if (size[0], size[1]) != (height, width):
        return f"is a mask of {size[1]:g} x {size[0]:g} pixels, its image has {width} x {height}"
    runs = run_lengths(counts)
    if runs is None:
        return "has 'counts' that are no run lengths"
    if int(runs.sum()) != height * width:
        return f"has run lengths of {int(runs.sum()):,} pixels together, its image has {height * width:,}"
    return None


def run_lengths(counts: Any) -> NDArray[np.int64] | None:
    """Run lengths, background first, from a list of numbers or COCO's compressed text; None for anything else."""
    if isinstance(counts, list):
        if not all(is_number(run) and run >= 0 and run == int(run) for run in counts):
            return None
        return np.array(counts, np.float64).astype(np.int64)
    if isinstance(counts, str):
        counts = counts.encode("ascii", "replace")
    return decompressed(counts) if isinstance(counts, bytes) else None


def decompressed(text: bytes) -> NDArray[np.int64] | None:
    """Run lengths from COCO's text: groups of five bits, lowest first, from the third on differences to the last but
    one. None for a text that is not of this kind.
    """
    groups = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not len(groups) or groups.min() < 0 or groups.max() > 63 or groups[-1] & 32:
        return None
    ends = np.flatnonzero(groups & 32 == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    digits = np.arange(len(groups)) - np.repeat(starts, ends - starts + 1)
    if digits.max() > 6:  # 35 bits: more pixels than any image has
        return None
    values = np.add.reduceat((groups & 31) << (5 * digits), starts)
    negative = groups[ends] & 16 != 0
    values[negative] -= np.int64(1) << (5 * (digits[ends][negative] + 1))
    for first in (1, 2):
        values[first::2] = np.cumsum(values[first::2])
    return values if (values >= 0).all() else None


def to_rle(segmentation: Any, height: int, width: int) -> RLE:
    """A mask without a `problem` as compressed run lengths."""
    if isinstance(segmentation, list):
        merged = coco_mask.merge(coco_mask.frPyObjects(usable(segmentation), height, width))
        return {"size": [height, width], "counts": merged["counts"].decode("ascii")}
    counts = segmentation["counts"]
    if isinstance(counts, list):
        whole = {"size": [height, width], "counts": [int(run) for run in counts]}
        counts = coco_mask.frPyObjects(whole, height, width)["counts"].decode("ascii")
    return {"size": [height, width], "counts": counts if isinstance(counts, str) else counts.decode("ascii")}


def area(rle: RLE) -> int:
    """Pixels of a mask."""
    return int(coco_mask.area(rle))


def decode(segmentation: Any, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W) of 0 and 1 from a mask without a `problem`."""
    decoded: NDArray[np.uint8] = coco_mask.decode(to_rle(segmentation, height, width))
    return decoded
