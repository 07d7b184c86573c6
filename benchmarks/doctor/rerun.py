"""The model itself, beside a file that should be its own: which preprocessing gives these detections?

A few images are enough to tell pipelines apart: their detections differ in every score. More images are run until the
best pipeline leads clearly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pycocotools import mask as coco_mask

from benchmarks.doctor.case import LIMIT, Case, Floats, score
from benchmarks.doctor.examine import EXIF, Explanation
from benchmarks.doctor.pipelines import Pipeline, is_turned, pipelines
from zoo.errors import UsageError
from zoo.models.detectors.base import Detector
from zoo.preprocessing.recipe import Preprocessing

ROUNDS = (4, 8, 16)  # images, until one pipeline leads
LEAD = 0.02
EQUAL = 0.985  # agreement from which detections are the same
COMPARED = 15  # detections of an image, the best
LEAST_POINTS = 0.1  # with the model's own detections beside it, a small price is certain too
PRICED = 60  # images on which the price of a mistake is measured


@dataclass(frozen=True)
class Rerun:
    """explanations: what differs from the model. agreement: of the file with the model as published, 0 to 1.

    images: on which pipelines were compared. ap: of the model as published, on the images of the price; None where no
    price was needed. notices: what could not be explained.
    """

    explanations: list[Explanation]
    agreement: float
    images: int
    ap: float | None
    notices: list[str]


def rerun(case: Case, table: Floats, model: Detector, recipe: Preprocessing, unturned: Floats | None = None) -> Rerun:
    """Compare a file's detections with the model's. table: as `State.table` gives it, mistakes taken back.

    unturned: the same with turned images as they are in the file, which is what a model gives that ignores EXIF.
    """
    paths = paths_of(case)
    numbers = number_of_labels(case, model)
    tried = list(pipelines(recipe))
    files = [unturned if one.key == EXIF and unturned is not None else table for one in tried]
    scores, images = compared(files, model, tried, numbers, paths)
    own, best = scores[0], int(np.argmax(scores))
    if own < EQUAL and best and scores[best] > own + LEAD and 1 - scores[best] < 0.6 * (1 - own):
        ap, points = price(case, files[best], model, tried[0], numbers, paths)
        return Rerun([Explanation(tried[best].key, tried[best].sentence, points)], own, images, ap, [])
    if own < EQUAL:
        text = (
            f"The detections agree with the model's by {own:.0%}, and no known preprocessing explains the difference: "
            "other weights, another post-processing, or a mistake that is not known."
        )
        return Rerun([], own, images, None, [text])
    return selected(case, table, model, tried[0], numbers, paths, Rerun([], own, images, None, []))


def paths_of(case: Case) -> dict[int, Path]:
    """The files of the images that are examined. Raises UsageError without any."""
    files = {case.image_ids[image.id]: image.path for image in case.dataset.images}
    existing = {number: files[number] for number in case.numbers if number in files and files[number].is_file()}
    if not existing:
        raise UsageError(f"--model needs the dataset's images; none of them is in {case.dataset.root}.")
    return existing


def number_of_labels(case: Case, model: Detector) -> Floats:
    """(labels,) the number of each of the model's classes, by name; -1 where the annotations lack it."""
    number = dict(zip(case.names, case.category_ids.values()))
    numbers = np.array([number.get(name, -1) for name in model.classes or ()], np.float64)
    if not (numbers > 0).any():
        raise UsageError("The model and the annotations have no class in common.")
    return numbers


def compared(
    files: Sequence[Floats], model: Detector, tried: Sequence[Pipeline], numbers: Floats, paths: dict[int, Path]
) -> tuple[list[float], int]:
    """(agreement of each pipeline, number of images), on as few images as that takes.

    files: the detections that each pipeline should give. Images with EXIF orientations come first: without one of
    them, nothing tells whether these were ignored. Images without a detection do not count: a threshold empties them.
    """
    counts = {number: int((files[0][:, 0] == number).sum()) for number in paths}
    known = [number for number, count in counts.items() if count] or list(paths)
    useful = sorted(known, key=lambda number: (not is_turned(paths[number]), -counts[number]))
    sums, done = np.zeros(len(tried)), 0
    for count in ROUNDS:
        for number in useful[done:count]:
            for i, pipeline in enumerate(tried):
                own = files[i][files[i][:, 0] == number]
                sums[i] += agreement(own, detect(model, pipeline, paths[number], numbers, number))
        done = min(count, len(useful))
        means = np.sort(sums / done)
        if sums[0] / done >= EQUAL or means[-1] - means[-2] > LEAD or done == len(useful):
            break
    return (sums / done).tolist(), done


def detect(model: Detector, pipeline: Pipeline, path: Path, numbers: Floats, number: int) -> Floats:
    """(K, 7) detections of an image, as a table of the file's."""
    home = next(model.parameters())
    with torch.inference_mode():
        detections = model.detect_sample(pipeline.prepare(path), home)
    boxes = detections.boxes.double().numpy()
    boxes = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]])
    columns = [np.full(len(boxes), number), boxes, detections.scores.double().numpy()]
    columns.append(numbers[detections.labels.numpy()])
    table = np.column_stack(columns)
    return np.asarray(table[table[:, 6] > 0])


def agreement(file: Floats, own: Floats) -> float:
    """How well the best detections of a file in an image are those of the model: IoU, less where scores differ."""
    file = file[np.argsort(-file[:, 5], kind="stable")][:COMPARED]
    if not len(file) or not len(own):
        return float(len(file) == len(own))
    first, second = np.ascontiguousarray(file[:, 1:5]), np.ascontiguousarray(own[:, 1:5])
    shared = np.asarray(coco_mask.iou(first, second, [0] * len(second)))
    same = file[:, 6][:, None] == own[:, 6][None]
    near = np.maximum(0, 1 - 5 * np.abs(file[:, 5][:, None] - own[:, 5][None]))
    return float((shared * same * near).max(1).mean())


def own_table(
    model: Detector, pipeline: Pipeline, numbers: Floats, paths: dict[int, Path], images: Sequence[int]
) -> Floats:
    """What the model detects in some images."""
    return np.concatenate([detect(model, pipeline, paths[number], numbers, number) for number in images])


def priced_images(paths: dict[int, Path]) -> list[int]:
    """Evenly chosen images."""
    listed = sorted(paths)
    return [listed[i] for i in np.unique(np.linspace(0, len(listed) - 1, min(PRICED, len(listed))).astype(int))]


def price(
    case: Case, table: Floats, model: Detector, pipeline: Pipeline, numbers: Floats, paths: dict[int, Path]
) -> tuple[float, float]:
    """(AP of the model as published, points that the file has less), on the same images."""
    images = priced_images(paths)
    part = case.of(images)
    ap = score(part, own_table(model, pipeline, numbers, paths, images)).value
    return ap, 100 * (ap - score(part, table[np.isin(table[:, 0], images)][:, :7]).value)


def selected(
    case: Case,
    table: Floats,
    model: Detector,
    pipeline: Pipeline,
    numbers: Floats,
    paths: dict[int, Path],
    before: Rerun,
) -> Rerun:
    """What was left out of the detections of the right pipeline, with its price."""
    images = priced_images(paths)
    own = own_table(model, pipeline, numbers, paths, images)
    file, part = table[np.isin(table[:, 0], images)], case.of(images)
    ap = score(part, own).value
    points = 100 * (ap - score(part, file[:, :7]).value)
    explanation = left_out(file, own, points) if points >= LEAST_POINTS and len(file) else None
    return Rerun([explanation] if explanation else [], before.agreement, before.images, ap, [])


def left_out(file: Floats, own: Floats, points: float) -> Explanation | None:
    """Which of the model's own detections a file lacks."""
    lowest = float(file[:, 5].min())
    counts = dict(zip(*np.unique(file[:, 0], return_counts=True)))
    theirs = dict(zip(*np.unique(own[:, 0], return_counts=True)))
    most = max(counts.values())
    full = [counts.get(number) == most for number, count in theirs.items() if count > most]
    capped = len(full) > 1 and all(full)
    if capped and most >= LIMIT:
        return None  # as usual: COCO counts no more of an image and class
    if capped:
        sentence = (
            f"At most {most} detections of an image are in the file; the model gives up to {max(theirs.values())}."
        )
        return Explanation(f"at-most-{most}", sentence, points)
    below = (own[:, 5] < lowest - 1e-3).mean()
    if below > 0.1:
        sentence = f"Detections with scores below {lowest:.3g} were left out: {below:.0%} of the model's."
        return Explanation(f"score-threshold-{lowest:.2g}", sentence, points)
    if len(file) < 0.9 * len(own):
        sentence = f"The file has {len(file)} of the model's {len(own)} detections: another suppression (NMS)."
        return Explanation("suppression", sentence, points)
    return None
