"""What a file of detections lacks, which cannot be put back: low scores, further detections, images, an order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from benchmarks.doctor.case import LIMIT, Case, Floats, matches_of

PRECISE = 0.2  # share of true detections above which lower scores must be missing
LOW = 0.075  # a threshold up to this one costs little, and is usual
CAPPED = 0.3  # share of the images that have exactly the largest number of detections
INFORMED = 0.6  # probability that a true detection has a higher score than a false one


class Sign(NamedTuple):
    """Something missing. keeps: what it does to any file, to measure what it costs on the model's own detections."""

    key: str
    sentence: str


def signs(case: Case, table: Floats) -> Iterator[Sign]:
    """What is missing, by the file alone; the most certain first."""
    if not len(table):
        yield Sign("empty", "The file has no detection in any of these images.")
        return
    hits = hits_of(case, table)
    yield from order(table, hits)
    if sign := cap(case, table, hits) or threshold(table, hits):
        yield sign


def hits_of(case: Case, table: Floats) -> np.ndarray:
    """Scores (N,) and whether each detection is true at an IoU of 0.5: (2, N)."""
    matches = matches_of(case, table)
    counted = (matches.ignored[0] & 1) == 0
    return np.stack([matches.score[counted], matches.hit[0, counted] & 1])


def order(table: Floats, hits: np.ndarray) -> Iterator[Sign]:
    """Whether scores say which detections are true."""
    scores, true = hits
    if len(np.unique(table[:, 5])) == 1 and len(table) > 1:
        if 0.05 < true.mean() < 0.95:
            yield Sign("equal-scores", f"All scores are {table[0, 5]:g}, so detections have no order.")
        return
    if min(true.sum(), (1 - true).sum()) < 20:
        return
    ranks = np.argsort(np.argsort(scores, kind="stable"))
    positives = true.sum()
    above = (ranks[true == 1].sum() - positives * (positives - 1) / 2) / (positives * (len(true) - positives))
    if above < INFORMED:
        yield Sign(
            "unrelated-scores", "Scores do not belong to their boxes: true detections rank no higher than false."
        )


def cap(case: Case, table: Floats, hits: np.ndarray) -> Sign | None:
    """Whether images have no more than some number of detections."""
    counts = np.unique(table[:, 0], return_counts=True)[1]
    most = int(counts.max())
    if most >= LIMIT or (counts == most).mean() < CAPPED or len(counts) < 5:
        return None
    if hits[1].mean() < PRECISE:
        return None
    return Sign(
        f"at-most-{most}",
        f"No image has more than {most} detections, and {(counts == most).mean():.0%} of them have so many: "
        f"the others were left out. COCO counts up to {LIMIT}.",
    )


def threshold(table: Floats, hits: np.ndarray) -> Sign | None:
    """Whether scores end where many detections still are true."""
    lowest = float(table[:, 5].min())
    if lowest < LOW or hits[1].mean() < PRECISE or hits[1].mean() > 0.95:
        return None
    return Sign(
        f"score-threshold-{lowest:.2g}",
        f"No score is below {lowest:.3g}, and {hits[1].mean():.0%} of the detections are true: those with lower scores "
        "were left out, so recall ends early. Evaluate with a threshold of 0.05 or less.",
    )
