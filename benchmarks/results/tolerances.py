"""How much a measurement may change before a check fails."""

from __future__ import annotations

from dataclasses import dataclass

KINDS = ("accuracy", "inference", "training")
"""Kinds of records that baselines are made of."""


@dataclass(frozen=True)
class Tolerances:
    """How much may change.

    accuracy: absolute, in the metric's own unit. score, box: of single detections, absolute and in pixels.
    time: factor of the median relative time on the machine of the baseline; other_machine: factor on another one.
    significance: largest p value of the rank test that counts.
    """

    accuracy: float = 0.0
    score: float = 0.001
    box: float = 0.5
    time: float = 1.07
    other_machine: float = 1.5
    significance: float = 0.001
