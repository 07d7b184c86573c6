"""Mean average precision at one IoU threshold, as Pascal VOC defined it (Everingham et al., 2010, section 4.2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Bools = NDArray[np.bool_]


class Ranked(NamedTuple):
    """Detections of one class: scores (K,), hits (K,) and misses (K,); one that is neither does not count.

    positives: how many objects there were to find.
    """

    scores: Floats
    hits: Bools
    misses: Bools
    positives: int


def overlaps(boxes: Floats, others: Floats, extent: float = 0.0, over: str = "union") -> Floats:
    """Intersection of (N, 4) with (M, 4) xyxy boxes over their union, or over the first one's area: (N, M).

    extent: 1 where coordinates mean whole pixels, so that a box from 3 to 3 is one pixel wide; 0 where they mean edges.
    """
    first, second = boxes.astype(np.float32)[:, None], others.astype(np.float32)[None]
    corner = np.maximum(first[..., :2], second[..., :2])
    sides = np.maximum(np.minimum(first[..., 2:], second[..., 2:]) - corner + extent, 0)
    shared = sides.prod(-1)
    areas = [(b[..., 2:] - b[..., :2] + extent).prod(-1) for b in (first, second)]
    total = areas[0] + areas[1] - shared if over == "union" else np.broadcast_to(areas[0], shared.shape)
    return shared / np.maximum(total, 1e-6)


def match(shared: Floats, scores: Floats, ignored: Bools, threshold: float = 0.5) -> tuple[Bools, Bools]:
    """(hits, misses) of one image's detections of a class.

    shared: (K, M) overlaps with the objects. Each detection, best score first, goes to the object that it overlaps
    most, and is a miss if that one has been found already. Detections of an `ignored` object (M,) count for nothing.
    """
    hits, misses = np.zeros(len(scores), bool), np.ones(len(scores), bool)
    if not shared.shape[1]:
        return hits, misses
    best, taken = shared.argmax(1), np.zeros(shared.shape[1], bool)
    for k in np.argsort(-scores, kind="stable"):
        target = best[k]
        if shared[k, target] < threshold:
            continue
        hits[k] = not ignored[target] and not taken[target]
        misses[k] = not ignored[target] and taken[target]
        taken[target] = True
    return hits, misses


def join(parts: Iterable[Ranked]) -> Ranked:
    """The same class over several images."""
    listed = list(parts)
    if not listed:
        return Ranked(np.zeros(0), np.zeros(0, bool), np.zeros(0, bool), 0)
    scores, hits, misses = (np.concatenate([part[i] for part in listed]) for i in range(3))
    return Ranked(scores, hits, misses, sum(part.positives for part in listed))


class Curve(NamedTuple):
    """A class's detections that count, best first: hits (K,) and the image of each (K,). positives: of each image."""

    hits: Bools
    image: NDArray[np.int64]
    positives: NDArray[np.int64]


def curve(parts: Sequence[Ranked], images_at: Sequence[int], images: int) -> Curve:
    """A class's curve over some of N images. parts: one for each of `images_at`, which are indices of images."""
    joined, positives = join(parts), np.zeros(images, np.int64)
    positives[list(images_at)] = [part.positives for part in parts]
    image = np.repeat(np.array(images_at, np.int64), [len(part.scores) for part in parts])
    order = np.argsort(-joined.scores, kind="stable")
    order = order[(joined.hits | joined.misses)[order]]
    return Curve(joined.hits[order], image[order], positives)


def weighted_precision(one: Curve, weights: Floats, eleven_points: bool = False) -> float:
    """The AP of a dataset that has each image `weights` (N,) times; NaN without an object.

    The area under the precision-recall curve made falling, or the mean of its value at recalls 0, 0.1, ..., 1.
    """
    positives = float(one.positives @ weights)
    if not positives:
        return float("nan")
    own = weights[one.image]
    rows = np.flatnonzero(one.hits)  # precision can only rise there
    hits, considered = np.cumsum(own[rows]), np.cumsum(own)[rows]
    return under_curve(hits / positives, hits / np.maximum(considered, 1), eleven_points)


def under_curve(recall: Floats, precision: Floats, eleven_points: bool) -> float:
    """By either rule."""
    if eleven_points:
        levels = np.arange(0, 1 + 1e-3, 0.1)
        return float(np.mean([precision[recall >= level].max(initial=0) for level in levels]))
    return area(recall, precision)


def area(recall: Floats, precision: Floats) -> float:
    """Area under precision over rising recall, with precision made falling first."""
    recall = np.concatenate([[0.0], recall, [1.0]])
    precision = np.concatenate([[0.0], precision, [0.0]])
    falling = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * falling[1:]))


def mean(values: Iterable[float]) -> float:
    """The mean over classes; -1 without any."""
    listed = list(values)
    return float(np.mean(listed)) if listed else -1.0


def known_mean(values: Iterable[float]) -> float:
    """The mean of what is not NaN; -1 without any."""
    return mean(value for value in values if value == value)
