"""Mistakes in the assignment of detections to images, each with the way back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np

from benchmarks.doctor.boxes import turned
from benchmarks.doctor.case import Case, Floats
from benchmarks.doctor.fit import fit_by_image

BETTER = 0.25  # by how much detections fit an image better when they are turned
FEWEST = 2  # images that are turned


class ImageMistake(NamedTuple):
    """A mistake and the way back. numbers: image in the file -> number of the image it means."""

    key: str
    sentence: str
    numbers: dict[Any, int]


def mistakes(case: Case) -> Iterator[ImageMistake]:
    """The ways in which image ids are known to be wrong."""
    listed, ordered = list(case.image_ids.values()), sorted(case.image_ids, key=str)
    counted = "Images are counted from {} in the order of the annotation file, not named by its image ids."
    yield ImageMistake("image-index-from-0", counted.format(0), dict(enumerate(listed)))
    yield ImageMistake("image-index-from-1", counted.format(1), dict(enumerate(listed, 1)))
    rising = sorted(case.image_ids.values())
    named = "Images are counted from {} in the order of their file names, not named by their image ids."
    yield ImageMistake("image-name-index-from-0", named.format(0), dict(enumerate(rising)))
    yield ImageMistake("image-name-index-from-1", named.format(1), dict(enumerate(rising, 1)))
    names = {image.id: image.file_name for image in case.dataset.file.images}
    for key, name in (("file-name", str), ("file-stem", lambda text: PurePath(text).stem)):
        by_name = {name(text): case.image_ids[i] for i, text in names.items()}
        yield ImageMistake(key, "Images are given by their file names, not by their image ids.", by_name)
    digits = {i: case.image_ids[i] for i in ordered if str(i).isdigit()}
    as_text = {str(i): number for i, number in digits.items()} | {int(i): number for i, number in digits.items()}
    yield ImageMistake("id-type", "Image ids are texts where the annotation file has numbers, or the reverse.", as_text)
    for by in (1, -1):
        neighbors = {a: b for a, b in zip(list(case.image_ids)[max(0, -by) :], listed[max(0, by) :])}
        sentence = "Detections are one image off: each has the id of its neighbor in the annotation file."
        yield ImageMistake(f"image-shift{by:+d}", sentence, neighbors)


def turned_images(case: Case, table: Floats) -> tuple[Floats, dict[int, int]]:
    """A table whose boxes are turned where they fit better so; number of an image -> quarters of a turn."""
    before, best = fit_by_image(case, table), dict[int, tuple[float, int]]()
    for quarters in (1, 2, 3):
        for number, (value, _) in fit_by_image(case, turn(case, table, quarters)).items():
            if value > before[number][0] + BETTER and value > best.get(number, (0.0, 0))[0]:
                best[number] = (value, quarters)
    turns = {number: quarters for number, (_, quarters) in best.items()}
    result = table.copy()
    for quarters in set(turns.values()):
        own = np.isin(table[:, 0], [number for number, q in turns.items() if q == quarters])
        result[own] = turn(case, table[own], quarters)
    return result, turns


def turn(case: Case, table: Floats, quarters: int) -> Floats:
    """All boxes turned clockwise, from images of the turned size to those of the annotation file."""
    result = table.copy()
    result[:, 1:5] = turned(table[:, 1:5], case.sizes[table[:, 0].astype(int)], quarters)
    return result
