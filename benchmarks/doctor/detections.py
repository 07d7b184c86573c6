"""The diagnosis of a file of detections, as plain data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from benchmarks.datasets.catalog import open_dataset, spec
from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.request import MetricConfig
from benchmarks.doctor.case import Case, open_case, read_rows
from benchmarks.doctor.examine import Diagnosis, Explanation, examine
from zoo.errors import UsageError, ZooError

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector
    from zoo.preprocessing.recipe import Preprocessing


SYMPTOMS = ("shifted", "scaled")  # of wrong preprocessing, where that explains the detections
AGREES = 0.9  # of detections with a model's, so that nothing but a selection can differ


class Known(NamedTuple):
    """A model whose detections a file should have, and its published preprocessing."""

    model: Detector
    recipe: Preprocessing


def diagnose(
    predictions: Path, data: Path, dataset: str, split: str | None, limit: int | None, known: Known | None = None
) -> dict[str, Any]:
    """What explains the number of the detections in `predictions`. known: the model that gave them. Raises ZooError."""
    if not predictions.is_file():
        raise ZooError(f"{predictions} does not exist, or is not a file.")
    case = open_case(opened(data, dataset, split), limit)
    diagnosis = examine(case, read_rows(predictions), () if known is None else inputs_of(known.recipe))
    result = as_data(case, diagnosis)
    return result if known is None else with_model(case, diagnosis, known, result)


def opened(data: Path, dataset: str, split: str | None) -> CocoDataset:
    """The dataset, which must be in COCO's layout."""
    request = MetricConfig(measures=("box",), split=split, predictions=True)
    result = open_dataset(spec(dataset).name, data, request)
    if not isinstance(result, CocoDataset):
        raise UsageError(f"bench doctor reads datasets in COCO's layout; {dataset} has another one.")
    return result


def inputs_of(recipe: Preprocessing) -> tuple[int, ...]:
    """Sides of the network's input."""
    sides = [side for step in recipe.steps for side in getattr(step, "scale", None) or ()]
    return tuple(dict.fromkeys(sides))


def as_data(case: Case, diagnosis: Diagnosis) -> dict[str, Any]:
    """A diagnosis as plain data."""
    return {
        "images": diagnosis.images,
        "box_ap": diagnosis.ap,
        "repaired_box_ap": diagnosis.repaired,
        "explanations": [one.to_dict() for one in diagnosis.explanations],
        "notices": list(case.dataset.notices),
    }


def with_model(case: Case, diagnosis: Diagnosis, known: Known, result: dict[str, Any]) -> dict[str, Any]:
    """The same after a comparison with the model's own detections, which know the price of what is missing."""
    from benchmarks.doctor.rerun import rerun

    compared = rerun(case, diagnosis.state.table(case), known.model, known.recipe, diagnosis.unturned.table(case))
    explained = {one.key for one in compared.explanations}
    priced = [one for one in diagnosis.explanations if one.points is not None and one.key not in explained]
    if compared.explanations:
        priced = [one for one in priced if one.key not in SYMPTOMS]
    if compared.agreement < AGREES and not compared.explanations:
        priced = diagnosis.explanations  # nothing is known about what is missing
    listed = sorted([*priced, *compared.explanations], key=lambda one: -points_of(one))
    return result | {
        "explanations": [one.to_dict() for one in listed],
        "agreement_with_model": compared.agreement,
        "images_compared_with_model": compared.images,
        "model_box_ap": compared.ap,
        "notices": [*result["notices"], *compared.notices],
    }


def points_of(one: Explanation) -> float:
    """The price, 0 where it is not known."""
    return one.points or 0.0
