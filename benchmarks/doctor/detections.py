"""The diagnosis of a file of detections, as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.datasets.catalog import open_dataset, spec
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.doctor.case import Case, open_case, read_rows
from benchmarks.doctor.examine import Diagnosis, examine
from zoo.errors import UsageError, ZooError


def diagnose(predictions: Path, data: Path, dataset: str, split: str | None, limit: int | None) -> dict[str, Any]:
    """What explains the number of the detections in `predictions`. Raises ZooError."""
    if not predictions.is_file():
        raise ZooError(f"{predictions} does not exist, or is no file.")
    case = open_case(opened(data, dataset, split), limit)
    return as_data(case, examine(case, read_rows(predictions)))


def opened(data: Path, dataset: str, split: str | None) -> CocoDataset:
    """The dataset, which must be in COCO's layout."""
    request = MetricConfig(measures=("box",), split=split, predictions=True)
    result = open_dataset(spec(dataset).name, data, request)
    if not isinstance(result, CocoDataset):
        raise UsageError(f"bench doctor reads datasets in COCO's layout; {dataset} has another one.")
    return result


def as_data(case: Case, diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as plain data."""
    return {
        "images": diagnosis.images,
        "box_ap": diagnosis.ap,
        "repaired_box_ap": diagnosis.repaired,
        "explanations": [one.to_dict() for one in diagnosis.explanations],
        "notices": list(case.dataset.notices),
    }
