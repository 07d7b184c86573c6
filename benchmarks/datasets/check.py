"""Whether a folder holds a dataset: counts, problems, notices."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.request import MetricConfig
from benchmarks.datasets.spec import Spec
from zoo.errors import UnreadableImage

SHOWN = 5  # problems of one kind that a check lists
DETAILS = ("mask", "keypoint")  # measures that annotations of boxes may lack


def check(one: Spec, root: Path, split: str | None = None) -> dict[str, Any]:
    """Whether `root` holds the dataset: name, root, numbers of images and classes, problems and notices (sentences).

    A dataset without masks is complete; a notice says that it has no mask AP.
    """
    report: dict[str, Any] = {"name": one.name, "root": str(root), "images": 0, "classes": 0, "notices": []}
    measures = tuple(measure for measure in one.measures if measure not in DETAILS)
    try:
        opened = one.open(root, MetricConfig(measures=measures, split=split))
    except (DatasetError, UnreadableImage) as error:
        return report | {"problems": [str(error)]}
    problems = [
        *missing_files([image.path for image in opened.images], "images"),
        *missing_files(opened.ground_truth_files(), "files with their annotations"),
    ]
    if not opened.images:
        problems.append("The annotations list no images.")
    notices = [*opened.notices, *without_details(one, root, split)]
    counts = {"images": len(opened.images), "classes": len(opened.classes)}
    return report | counts | {"problems": problems, "notices": notices}


def without_details(one: Spec, root: Path, split: str | None) -> list[str]:
    """Why a folder has no AP of masks or keypoints, for each of these that its dataset can have."""
    reasons = []
    for measure in (measure for measure in one.measures if measure in DETAILS):
        try:
            one.open(root, MetricConfig(measures=(measure,), split=split))
        except (DatasetError, UnreadableImage) as error:
            reasons.append(str(error))
    return reasons


def missing_files(paths: Sequence[Path], kind: str) -> list[str]:
    """Sentences about the files that do not exist."""
    missing = [path for path in paths if not path.is_file()]
    problems = [f"{path} does not exist." for path in missing[:SHOWN]]
    if len(missing) > SHOWN:
        problems.append(f"{len(missing)} of {len(paths)} {kind} do not exist, these are the first.")
    return problems
