"""WIDER FACE (Yang et al., 2016) with its own evaluation: AP of the easy, medium and hard faces at IoU 0.5.

The rules are those of the dataset's `eval_tools`: scores are stretched to 0 to 1 over all images; a thousand
thresholds give the curve; faces outside the subset are ignored, and so are detections that overlap them most.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from benchmarks.datasets import resampling
from benchmarks.datasets.classes import few
from benchmarks.datasets.files import DatasetError, require_file, require_folder
from benchmarks.datasets.mean_ap import Bools, Floats, area, overlaps
from benchmarks.datasets.predictions import Predictions
from benchmarks.datasets.request import DatasetImage, ImageId, MetricConfig
from benchmarks.datasets.resampling import Resampled
from zoo.text import printable

SUBSETS = ("easy", "medium", "hard")
THRESHOLDS = 1000


class WiderFace:
    """The validation part. ground truth: folder of eval_tools' .mat files; images: folder of the events' folders."""

    def __init__(self, name: str, root: Path, request: MetricConfig, ground_truth: str, images: str) -> None:
        self.name, self.root = name, root
        self.notices: list[str] = []
        self.classes: tuple[str, ...] = ("face",)
        self.category_ids = [1]
        if request.classes is not None and tuple(request.classes) != self.classes:
            raise DatasetError(f"WIDER FACE has one class, face; the model knows {few(request.classes)}.")
        at, folder = root / ground_truth, require_folder(root / images, name)
        listed = read_mat(at / "wider_face_val.mat", ("event_list", "file_list", "face_bbx_list"), name)
        with readable(at / "wider_face_val.mat"):
            files = [(str(event[0]), str(file[0])) for event, file in pairs(listed, "event_list", "file_list")]
            faces = [corners(boxes) for _, boxes in pairs(listed, "event_list", "face_bbx_list")]
            if len(faces) != len(files):
                raise ValueError(f"{len(files)} images, faces of {len(faces)}")
        self.images = [DatasetImage(f"{event}/{file}", folder / event / f"{file}.jpg") for event, file in files]
        ids = [image.id for image in self.images]
        self.faces = dict(zip(ids, faces))
        self.counted: dict[str, dict[ImageId, Bools]] = {}
        for subset in SUBSETS:
            path = at / f"wider_{subset}_val.mat"
            chosen = read_mat(path, ("gt_list",), name) | {"events": listed["event_list"]}
            with readable(path):
                rows = [rows for _, rows in pairs(chosen, "events", "gt_list")]
                if len(rows) != len(ids):
                    raise ValueError(f"{len(ids)} images, faces of {len(rows)}")
                self.counted[subset] = {i: mask(r, len(self.faces[i])) for i, r in zip(ids, rows)}

    def ground_truth_files(self) -> list[Path]:
        """None: the ground truth is read when the dataset is opened."""
        return []

    def evaluate(self, predictions: Mapping[ImageId, Predictions]) -> dict[str, float]:
        """ap_easy, ap_medium, ap_hard."""
        return self.weighing(predictions)(np.ones(len(predictions)))

    def resample(self, predictions: Mapping[ImageId, Predictions]) -> Resampled:
        """The same of datasets drawn from the images in `predictions`; scores are stretched over all of these."""
        objects = [(i, self.faces[i], *(self.counted[subset][i] for subset in SUBSETS)) for i in predictions]
        drawn_from = resampling.digest_of(part for row in objects for part in row)
        return resampling.of_metric(self.weighing(predictions), list(predictions), drawn_from)

    def weighing(self, predictions: Mapping[ImageId, Predictions]) -> Callable[[Floats], dict[str, float]]:
        """The numbers by weights of the images."""
        scores = stretched({i: one.scores.astype(np.float64) for i, one in predictions.items()})
        curves, positives = {}, {}
        for subset in SUBSETS:
            counted = {i: self.counted[subset][i] for i in predictions}
            rows = [image_curve(one.boxes, scores[i], self.faces[i], counted[i]) for i, one in predictions.items()]
            curves[subset] = np.array(rows, np.float64).reshape(len(rows), -1)
            positives[subset] = np.array([mask.sum() for mask in counted.values()], np.float64)

        def weigh(weights: Floats) -> dict[str, float]:
            return {f"ap_{s}": weighted_area(weights @ curves[s], float(weights @ positives[s])) for s in SUBSETS}

        return weigh


def weighted_area(counts: Floats, positives: float) -> float:
    """AP from the detections and found faces above each threshold, (1000 * 2,)."""
    above, hits = counts.reshape(THRESHOLDS, 2).T
    return area(hits / max(positives, 1), hits / np.maximum(above, 1))


def image_curve(boxes: Floats, scores: Floats, faces: Floats, counted: Bools) -> Floats:
    """(1000, 2): how many detections and how many found faces there are above each falling threshold.

    boxes: (K, 4), scores: (K,) falling, faces: (M, 4), counted: (M,), whether a face belongs to the subset.
    """
    if not len(boxes) or not len(faces):
        return np.zeros((THRESHOLDS, 2))
    shared = overlaps(boxes, faces, extent=1.0)
    best, near = shared.argmax(1), shared.max(1) >= 0.5
    first = np.zeros(len(boxes), bool)
    wanted = near & counted[best]
    first[[np.flatnonzero(wanted & (best == face))[0] for face in np.unique(best[wanted])]] = True
    running = np.stack([np.cumsum(~(near & ~counted[best])), np.cumsum(first)], 1)
    levels = 1 - np.arange(1, THRESHOLDS + 1) / THRESHOLDS
    above = (scores[None] >= levels[:, None]).sum(1)
    return np.concatenate([np.zeros((1, 2)), running])[above]


def stretched(scores: Mapping[ImageId, Floats]) -> dict[ImageId, Floats]:
    """Scores moved to 0 to 1 over all images."""
    everything = np.concatenate([*scores.values(), np.zeros(0)])
    if not len(everything):
        return dict(scores)
    low, spread = everything.min(), np.ptp(everything) or 1.0
    return {i: (values - low) / spread for i, values in scores.items()}


def read_mat(path: Path, keys: tuple[str, ...], dataset: str) -> dict[str, Any]:
    """Variables of a MATLAB file."""
    try:
        content = loadmat(str(require_file(path, dataset)))
        return {key: content[key] for key in keys}
    except (MatReadError, ValueError, NotImplementedError, KeyError, TypeError, OSError, zlib.error) as error:
        raise DatasetError(f"{path} is not a MATLAB file of WIDER FACE's eval_tools: {error}.") from error


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Raise DatasetError where the content of a file has another shape than it should have."""
    try:
        yield
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise DatasetError(f"{path} is not one of WIDER FACE's eval_tools: {printable(str(error), 100)}.") from None


def pairs(listed: Mapping[str, Any], events: str, values: str) -> list[tuple[Any, Any]]:
    """(event, value) for every image: both are cells of cells, one for each event, one for each image in it."""
    if len(listed[events]) != len(listed[values]):
        raise ValueError(f"{len(listed[events])} events, {values} of {len(listed[values])}")
    return [(event[0], value[0]) for event, cell in zip(listed[events], listed[values]) for value in cell[0]]


def corners(boxes: Floats) -> Floats:
    """x, y, width, height -> xyxy, in eval_tools' convention (x + width)."""
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not np.isfinite(boxes).all() or (boxes[:, 2:] < 0).any():
        raise ValueError("a face whose box is not finite, or has a negative side")
    return np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)


def mask(rows: Any, count: int) -> Bools:
    """Which of `count` faces are in a subset. rows: their numbers, from 1."""
    chosen, numbers = np.zeros(count, bool), np.asarray(rows, int).reshape(-1)
    if len(numbers) and not 1 <= numbers.min() <= numbers.max() <= count:
        raise ValueError(f"face {numbers.max()} of an image with {count}")
    chosen[numbers - 1] = True
    return chosen
