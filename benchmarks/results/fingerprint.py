"""What a detector finds in its first images, as numbers in a record, so that a later run can be held to it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from benchmarks.results import agreement
from zoo.structures import Detections

SAMPLES = "detections"
KEPT = 50
FIELDS = 7


def flatten(found: Sequence[Detections]) -> list[float]:
    """Image, label, score and box (xyxy, pixels of the image) of the KEPT best detections of each image."""
    rows = [
        [number, label, *(float(f"{value:.6g}") for value in (score, *box))]
        for number, one in enumerate(found)
        for label, score, box in zip(one.labels.tolist()[:KEPT], one.scores.tolist(), one.boxes.tolist())
    ]
    return [value for row in rows for value in row]


def images(values: Sequence[float]) -> dict[int, Detections]:
    """The detections of each image, back from `flatten`."""
    rows = torch.tensor(values, dtype=torch.float64).reshape(-1, FIELDS)
    return {int(number): of_rows(rows[rows[:, 0] == number]) for number in rows[:, 0].unique()}


def of_rows(rows: torch.Tensor) -> Detections:
    """Detections from rows (K, FIELDS)."""
    return Detections(rows[:, 3:].float(), rows[:, 2].float(), rows[:, 1].long())


def differences(then: Sequence[float], now: Sequence[float], score: float, box: float) -> list[str]:
    """What is not the same, in words; nothing where labels are equal and scores and boxes within the tolerances.

    score: absolute. box: pixels. Of two full lists the weakest detections may differ, since either may end between
    two that score nearly the same.
    """
    before, after, nothing = images(then), images(now), of_rows(torch.zeros(0, FIELDS))
    said = []
    for number in sorted(before.keys() | after.keys()):
        want, have = before.get(number, nothing), after.get(number, nothing)
        ours, theirs = agreement.match(want, have)
        floor = max(lowest(want), lowest(have)) + score
        lost, added = unmatched(want, ours, floor), unmatched(have, theirs, floor)
        moved = largest(want.scores[ours] - have.scores[theirs]), largest(want.boxes[ours] - have.boxes[theirs])
        said += [f"image {number}: {lost} lost, {added} added"] if lost or added else []
        said += [f"image {number}: a score moved by {moved[0]:.3g}"] if moved[0] > score else []
        said += [f"image {number}: a box moved by {moved[1]:.3g} pixels"] if moved[1] > box else []
    return said


def lowest(found: Detections) -> float:
    """The score at which a full list ends; 0 for one with all that was found."""
    return float(found.scores.min()) if len(found) >= KEPT else 0.0


def unmatched(found: Detections, matched: torch.Tensor, floor: float) -> int:
    """How many detections above a score have no partner."""
    alone = torch.ones(len(found), dtype=torch.bool)
    alone[matched] = False
    return int((found.scores[alone] > floor).sum())


def largest(difference: torch.Tensor) -> float:
    """The largest absolute difference; 0 where there is none."""
    return float(difference.abs().max()) if difference.numel() else 0.0
