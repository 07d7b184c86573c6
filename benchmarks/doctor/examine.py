"""From a file of detections to the mistakes that explain its number.

Each stage looks for one kind of mistake and takes it back where that raises the AP by more than chance; the next stage
goes on from there. So every explanation comes with what it costs, and a file without a known mistake has none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from benchmarks.datasets import coco_bootstrap
from benchmarks.doctor import boxes, classes, drift, images, truncation
from benchmarks.doctor.case import AP, Case, Floats, Rows, Score, gain, matches_of, score
from benchmarks.doctor.fit import fit
from benchmarks.doctor.suppression import suppressed

POINTS = 1.0  # a mistake that costs less is not named
PREFERENCE = 0.3  # by how much less an order that is known may agree than one that is learned
UNCOVERED = 0.15  # share of the images without a detection, before they are suspected
EXIF = "exif"
BETTER_FIT = 0.02  # by how much boxes must lie better on objects before the AP is computed


@dataclass(frozen=True)
class Explanation:
    """A mistake. points: of AP that it costs, in percent points; None where that cannot be known from the file."""

    key: str
    sentence: str
    points: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


@dataclass(frozen=True)
class State:
    """Detections as they are understood so far.

    image, category: (N,) numbers, -1 for those that mean none. boxes: (N, 4) xywh in the image. scores: (N,).
    """

    rows: Rows
    image: Floats
    category: Floats
    boxes: Floats
    scores: Floats

    def table(self, case: Case, labeled: bool = True) -> Floats:
        """(N, 8) number of the image, xywh, score, number of the class, position in the file.

        labeled: without those of unknown classes.
        """
        position = np.arange(len(self.scores), dtype=np.float64)
        table = np.column_stack([self.image, self.boxes, self.scores, self.category, position])
        kept = np.isin(self.image, case.numbers)
        return table[kept & (self.category > 0)] if labeled else table[kept]

    def score(self, case: Case) -> Score:
        """The AP."""
        return score(case, self.table(case)[:, :7])


Proposal = tuple[str, str, State]
Stage = Callable[[Case, State, tuple[int, ...]], Iterator[Proposal]]


@dataclass(frozen=True)
class Diagnosis:
    """ap: as the file is, 0 to 1. repaired: without the mistakes that could be taken back. images: that were examined.

    explanations: the most expensive first. state: the detections without the mistakes. unturned: the same, but turned
    images as they are in the file.
    """

    ap: float
    repaired: float
    images: int
    explanations: list[Explanation]
    state: State
    unturned: State


def examine(case: Case, rows: Rows, inputs: tuple[int, ...] = ()) -> Diagnosis:
    """The mistakes in a file of detections. inputs: sides of the model's input, where they are known."""
    state, stored = start(case, rows), None
    first = current = state.score(case)
    explanations = []
    for stage in STAGES:
        for key, sentence, proposal in stage(case, state, inputs):
            after = proposal.score(case)
            points, certain = gain(current, after)
            hidden = after.value < 0.02 and points > -0.5  # behind another mistake, which a later stage may find
            if (points >= POINTS and certain > 0) or (hidden and fits_better(case, state, proposal)):
                explanations.append(Explanation(key, sentence, points))
                stored = state.boxes if key == EXIF else stored
                state, current = proposal, after
                break
    explanations += uncovered(case, state)
    explanations.sort(key=lambda one: -(one.points or 0.0))
    if not explanations or current.value > first.value:
        signs = truncation.signs(case, state.table(case)[:, :7])
        explanations += [Explanation(*sign) for sign in signs]
    unturned = state if stored is None else replace(state, boxes=stored)
    return Diagnosis(first.value, current.value, len(case.numbers), explanations, state, unturned)


def uncovered(case: Case, state: State) -> Iterator[Explanation]:
    """Images without any detection, where they are many."""
    table = state.table(case)[:, :7]
    covered = np.isin(case.numbers, table[:, 0])
    if covered.all() or not covered.any() or covered.mean() > 1 - UNCOVERED:
        return
    seen = coco_bootstrap.precisions(matches_of(case, table), AP, covered[:, None].astype(np.float64))["box_ap"]
    points = 100 * float(seen[0] - score(case, table).value)
    if points >= POINTS:
        sentence = f"{(~covered).sum()} of {len(covered)} images have no detection at all: they were left out."
        yield Explanation("missing-images", sentence, points)


def start(case: Case, rows: Rows) -> State:
    """The file as it says."""
    image = np.array([case.image_ids.get(i, -1) for i in rows.image], np.float64)
    category = np.array([case.category_ids.get(i, -1) for i in rows.category], np.float64)
    return State(rows, image, category, rows.boxes, rows.scores)


def fits_better(case: Case, before: State, after: State) -> bool:
    """Whether boxes lie much better on objects, where an AP of zero says nothing."""
    return fit(case, after.table(case, False)) > fit(case, before.table(case, False)) + 10 * BETTER_FIT


def image_ids(case: Case, state: State, _: tuple[int, ...]) -> Iterator[Proposal]:
    """Other meanings of image ids."""
    proposals = []
    for one in images.mistakes(case):
        image = np.array([one.numbers.get(i, -1) for i in state.rows.image], np.float64)
        proposals.append((one.key, one.sentence, replace(state, image=image)))
    yield from best_fit(case, state, proposals)


def box_meaning(case: Case, state: State, inputs: tuple[int, ...]) -> Iterator[Proposal]:
    """Other meanings of the four numbers of a box, or boxes that are all shifted or of the wrong size."""
    sizes = case.sizes[np.maximum(state.image, 0).astype(int)]
    proposals = [
        (one.key, one.sentence, replace(state, boxes=one.undo(state.rows.boxes, sizes)))
        for one in boxes.mistakes(state.rows.boxes, inputs, float(case.sizes.max()))
        if one.key
    ]
    yield from best_fit(case, state, [*proposals, *drifted(case, state, inputs)])


def best_fit(case: Case, state: State, proposals: list[Proposal], most: int = 3) -> Iterator[Proposal]:
    """The proposals whose boxes lie best on objects, of those where they lie better than before."""
    fits = [fit(case, one[2].table(case, False)) for one in proposals]
    least = fit(case, state.table(case, False)) + BETTER_FIT
    for i in np.argsort(-np.array(fits), kind="stable")[:most].tolist():
        if fits[i] > least:
            yield proposals[i]


def class_meaning(case: Case, state: State, _: tuple[int, ...]) -> Iterator[Proposal]:
    """Other meanings of category ids: those that agree best with the objects that boxes lie on."""
    table = state.table(case, False)
    votes = classes.votes_of(case, state.rows, table)
    known = list(classes.mistakes(case))
    agreements = [agreement(votes, one.numbers) for one in known]
    least = agreement(votes, case.category_ids) + BETTER_FIT
    unknown = classes.learned(case, state.rows, table)
    # What is learned from the objects always agrees with them, so an order that is known is preferred.
    least = max(least, agreement(votes, unknown.numbers) - PREFERENCE if unknown else 0.0)
    best = np.argsort(-np.array(agreements), kind="stable")[:3].tolist()
    for one in [*(known[i] for i in best if agreements[i] > least), *([unknown] if unknown else [])]:
        category = classes.renumbered(one, state.rows.category)
        yield one.key, one.sentence, replace(state, category=category)


def agreement(votes: dict[Any, dict[int, int]], numbers: dict[Any, int]) -> float:
    """Share of the detections on objects whose class is the object's."""
    total = sum(sum(counts.values()) for counts in votes.values())
    same = sum(counts.get(numbers.get(category, -1), 0) for category, counts in votes.items())
    return same / max(total, 1)


def turned(case: Case, state: State, _: tuple[int, ...]) -> Iterator[Proposal]:
    """Images that were turned by their EXIF orientation, or were not."""
    table, turns = images.turned_images(case, state.table(case, False))
    if len(turns) < images.FEWEST:
        return
    changed = state.boxes.copy()
    changed[table[:, 7].astype(int)] = table[:, 1:5]
    sentence = (
        f"In {len(turns)} of {len(case.numbers)} images boxes are turned by a quarter or half: the EXIF orientation of "
        "the image files was ignored, or applied twice."
    )
    yield EXIF, sentence, replace(state, boxes=changed)


def drifted(case: Case, state: State, _: tuple[int, ...]) -> Iterator[Proposal]:
    """Boxes that are all shifted or too large."""
    for one in drift.drifts(case, state.table(case)):
        yield one.key, one.sentence, replace(state, boxes=one.undo(state.boxes))


def ranking(case: Case, state: State, _: tuple[int, ...]) -> Iterator[Proposal]:
    """Scores that rise where they should fall."""
    sentence = "Scores are the wrong way around: the best detections have the lowest."
    yield "inverted-scores", sentence, replace(state, scores=-state.scores)


def repeated(case: Case, state: State, _: tuple[int, ...]) -> Iterator[Proposal]:
    """Detections that are there several times."""
    table = state.table(case)
    for key, sentence, kept in suppressed(table):
        image = np.full(len(state.image), -1.0)
        image[kept] = state.image[kept]
        yield key, sentence, replace(state, image=image)


STAGES: tuple[Stage, ...] = (image_ids, box_meaning, class_meaning, turned, drifted, ranking, repeated)
