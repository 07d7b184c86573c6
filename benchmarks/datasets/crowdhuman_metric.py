"""CrowdHuman's metric (Shao et al., 2018, section 4.2; Chu et al., CrowdDet, 2020): AP, log-average miss rate and
Jaccard index at IoU 0.5.

Persons are matched as in Caltech's protocol: a detection, best score first, goes to the free person that it overlaps
most; one that reaches none but lies in an ignored region to more than half counts for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import maximum_bipartite_matching

from benchmarks.datasets.mean_ap import Bools, Floats, Ranked, curve, overlaps

THRESHOLD = 0.5
# False positives per image at which the miss rate is read (Dollar et al., 2012), in the digits of CrowdHuman's tools.
REFERENCES = (0.0100, 0.0178, 0.0316, 0.0562, 0.1000, 0.1778, 0.3162, 0.5623, 1.0)
SCORES = tuple(1e-1 * i for i in range(10))  # thresholds among which the best Jaccard index is taken


class CrowdImage(NamedTuple):
    """One image: its detections, best first, and its persons, both clipped to the image.

    boxes: (K, 4) xyxy. scores: (K,). persons: (M, 4). regions: (R, 4), to be ignored.
    """

    boxes: Floats
    scores: Floats
    persons: Floats
    regions: Floats


def clipped(boxes: Floats, size: tuple[int, int]) -> Floats:
    """Boxes inside an image of (h, w): upper left corners end one pixel before its edge, as in CrowdHuman's tools."""
    height, width = size
    upper = np.clip(boxes[:, :2], 0, [width - 1, height - 1])
    return np.concatenate([upper, np.clip(boxes[:, 2:], 0, [width, height])], axis=1)


def crowd_metrics(images: Sequence[CrowdImage]) -> dict[str, float]:
    """ap_50, miss_rate (lower is better) and jaccard_index, from 0 to 1; -1 without any person."""
    return weighing(images)(np.ones(len(images)))


def weighing(images: Sequence[CrowdImage]) -> Callable[[Floats], dict[str, float]]:
    """The numbers by weights of the images. Copies of a detection are one step of its curve."""
    persons = curve([rank(image) for image in images], range(len(images)), len(images))
    table = shares(images)

    def weigh(weights: Floats) -> dict[str, float]:
        positives = float(persons.positives @ weights)
        if not positives:
            return dict.fromkeys(("ap_50", "miss_rate", "jaccard_index"), -1.0)
        drawn = weights[persons.image] > 0
        own = weights[persons.image][drawn]
        hits, misses = (np.cumsum(own * kind) for kind in (persons.hits[drawn], ~persons.hits[drawn]))
        return {
            "ap_50": trapezoids(hits / positives, hits / np.maximum(hits + misses, 1)),
            "miss_rate": log_average_miss_rate(1 - hits / positives, misses / weights.sum()),
            "jaccard_index": jaccard_index(table, weights),
        }

    return weigh


def rank(image: CrowdImage) -> Ranked:
    """The detections of an image that count, as hits and misses."""
    shared = overlaps(image.boxes, image.persons)
    ignored = covered(image.boxes, image.regions)
    hits, free = np.zeros(len(image.scores), bool), np.ones(len(image.persons), bool)
    for k in range(len(image.scores)):
        left = np.where(free, shared[k], -1)
        if left.max(initial=-1) > THRESHOLD:
            hits[k], free[left.argmax()] = True, False
    counts = hits | ~ignored
    return Ranked(image.scores[counts], hits[counts], ~hits[counts], len(image.persons))


def covered(boxes: Floats, regions: Floats) -> Bools:
    """Which of the boxes (K, 4) lie to more than half in one of the regions (R, 4)."""
    return overlaps(boxes, regions, over="first").max(axis=1, initial=0) > THRESHOLD


def trapezoids(recall: Floats, precision: Floats) -> float:
    """The area below the curve through the points, which begins with the best detection."""
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def log_average_miss_rate(missed: Floats, per_image: Floats) -> float:
    """The geometric mean of the share of persons missed, at the REFERENCES of false positives per image.

    Where so many are never reached, the last value counts. 1 without detections.
    """
    if not len(missed):
        return 1.0
    indices = np.minimum(np.searchsorted(per_image, REFERENCES), len(missed) - 1)
    with np.errstate(divide="ignore"):  # of 0: nobody is missed
        return float(np.exp(np.log(missed[indices]).mean()))


def jaccard_index(table: Floats, weights: Floats) -> float:
    """The mean over images of matched / (persons + detections - matched), at the score threshold that is best.

    table: as `shares` makes it; images without persons or detections at a threshold do not count there.
    """
    totals, counted = np.nan_to_num(table) @ weights, ~np.isnan(table) @ weights
    return float((totals / np.maximum(counted, 1)).max())


def shares(images: Sequence[CrowdImage]) -> Floats:
    """(thresholds, N) Jaccard index of each image, NaN where nothing counts."""
    rows = [[share(image, score) for image in images] for score in SCORES]
    return np.array([[np.nan if one is None else one for one in row] for row in rows], np.float64)


def share(image: CrowdImage, score: float) -> float | None:
    """The Jaccard index of an image; None where nothing counts.

    As many pairs of an IoU of at least 0.5 as possible are matched. What stays alone does not count in ignored regions.
    """
    boxes = image.boxes[image.scores > score]
    lonely_boxes, lonely_persons = matched(boxes, image.persons)
    pairs = len(boxes) - int(lonely_boxes.sum())
    detections = len(boxes) - int(covered(boxes[lonely_boxes], image.regions).sum())
    persons = len(image.persons) - int(covered(image.persons[lonely_persons], image.regions).sum())
    return pairs / (persons + detections - pairs + 1e-6) if persons or detections else None


def matched(boxes: Floats, persons: Floats) -> tuple[Bools, Bools]:
    """Which boxes (K,) and which persons (M,) stay alone in a largest matching."""
    alone = np.ones(len(boxes), bool), np.ones(len(persons), bool)
    if len(boxes) and len(persons):
        shared = overlaps(boxes, persons)
        partners = maximum_bipartite_matching(csr_matrix(np.where(shared < THRESHOLD, 0, shared)), perm_type="column")
        alone[0][partners >= 0] = False
        alone[1][partners[partners >= 0]] = False
    return alone
