"""What a detector finds in its first images, as numbers in a record, so that a later run can be held to it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zoo.structures import Detections

SAMPLES = "detections"
KEPT = 50
FIELDS = 7

Rows = list[tuple[float, ...]]  # of one image: label, score, x1, y1, x2, y2


def flatten(detections: Sequence[Detections]) -> list[float]:
    """Image, label, score and box (xyxy, pixels of the image) of the KEPT best detections of each image."""
    rows = [
        [number, label, *(float(f"{value:.6g}") for value in (score, *box))]
        for number, one in enumerate(detections)
        for label, score, box in zip(one.labels.tolist()[:KEPT], one.scores.tolist(), one.boxes.tolist())
    ]
    return [value for row in rows for value in row]


def images(values: Sequence[float]) -> dict[int, Rows]:
    """The detections of each image, back from `flatten`."""
    rows = (tuple(values[start : start + FIELDS]) for start in range(0, len(values), FIELDS))
    return {int(number): [row[1:] for row in one] for number, one in groupby(rows, key=lambda row: row[0])}


def differences(then: Sequence[float], now: Sequence[float], score: float, box: float) -> list[str]:
    """What is not the same, in words; nothing where labels are equal and scores and boxes within the tolerances.

    score: absolute. box: pixels. Of two full lists the weakest detections may differ, since either may end between
    two that score nearly the same.
    """
    before, after = images(then), images(now)
    return [
        f"image {number}: {said}"
        for number in sorted(before.keys() | after.keys())
        for said in changes(before.get(number, []), after.get(number, []), score, box)
    ]


def changes(want: Rows, have: Rows, score: float, box: float) -> list[str]:
    """The differences in one image."""
    if in_order(want, have, score, box):
        return []
    ours, theirs = matched(want, have)
    floor = max(lowest(want), lowest(have)) + score
    lost, added = unmatched(want, ours, floor), unmatched(have, theirs, floor)
    moved = [[abs(a - b) for a, b in zip(want[i][1:], have[j][1:])] for i, j in zip(ours, theirs)]
    scores, boxes = max((m[0] for m in moved), default=0), max((max(m[1:]) for m in moved), default=0)
    said = [f"{lost} lost, {added} added"] if lost or added else []
    said += [f"a score moved by {scores:.3g}"] if scores > score else []
    return said + ([f"a box moved by {boxes:.3g} pixels"] if boxes > box else [])


def in_order(want: Rows, have: Rows, score: float, box: float) -> bool:
    """Whether two lists are the same detection by detection: the usual case, which needs no matching."""
    return len(want) == len(have) and all(
        a[0] == b[0] and abs(a[1] - b[1]) <= score and max(abs(x - y) for x, y in zip(a[2:], b[2:])) <= box
        for a, b in zip(want, have)
    )


def matched(want: Rows, have: Rows) -> tuple[list[int], list[int]]:
    """Indices of detections that belong together."""
    import numpy as np

    from benchmarks.results.agreement import Boxes, match

    rows = (np.asarray(one, np.float64).reshape(-1, FIELDS - 1) for one in (want, have))
    ours, theirs = match(*(Boxes(r[:, 2:], r[:, 1], r[:, 0].astype(np.int64)) for r in rows))
    return ours.tolist(), theirs.tolist()


def lowest(result: Rows) -> float:
    """The score at which a full list ends; 0 for one with all that was found."""
    return min(row[1] for row in result) if len(result) >= KEPT else 0.0


def unmatched(result: Rows, partners: Sequence[int], floor: float) -> int:
    """How many detections above a score have no partner."""
    alone = set(range(len(result))) - set(partners)
    return sum(result[i][1] > floor for i in alone)
