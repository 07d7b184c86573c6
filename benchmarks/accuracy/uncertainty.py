"""The bootstrap of an evaluation: what a record keeps of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from benchmarks.datasets.resampling import Resampled
from benchmarks.results import interval

AGREEMENT = 1e-6  # between the metric and its weighted form, as fractions
DIGITS = 7


class Uncertainty(NamedTuple):
    """Parts of a record. conditions: the intervals. notices: sentences that a reader of the numbers has to know."""

    conditions: dict[str, Any]
    samples: dict[str, list[float]]
    parameters: dict[str, Any]
    notices: list[str]


def uncertainty(metrics: Mapping[str, float], resampled: Resampled | None) -> Uncertainty:
    """What becomes of a dataset's replicates. None: the dataset's metric is not resampled."""
    if resampled is None or not resampled.replicates:
        return Uncertainty({}, {}, {}, [])
    if wrong := disagreeing(metrics, resampled.all_images):
        text = f"No intervals: the resampled metric gives another {wrong[0]} for all images, which is a bug."
        return Uncertainty({}, {}, {}, [text])
    samples = {name: rounded(values) for name, values in resampled.replicates.items()}
    return Uncertainty(
        {interval.INTERVALS: interval.of_metrics(metrics, samples), interval.CLASSES: dict(resampled.classes)},
        {interval.SAMPLES + name: values for name, values in samples.items()},
        {interval.PARAMETER: resampled.parameters},
        [],
    )


def disagreeing(metrics: Mapping[str, float], all_images: Mapping[str, float]) -> list[str]:
    """Metrics whose value over all images is not what the metric's own library computed."""
    return [name for name, value in all_images.items() if abs(metrics.get(name, -1.0) - value) > AGREEMENT]


def rounded(values: Sequence[float]) -> list[float]:
    """Replicates as they are stored."""
    return [round(float(value), DIGITS) for value in values]
