"""Preprocessing recipes as plain data, for files that must say by themselves what their inputs are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from zoo.preprocessing.recipe import CenterPad, Normalization, Normalize, Pad, Preprocessing, Resize, Step, triple

KINDS: dict[type[Step], str] = {Resize: "resize", Pad: "pad", CenterPad: "center_pad"}


def to_plain(recipe: Preprocessing) -> dict[str, Any]:
    """A recipe as JSON knows it: its fields, and each step as a mapping with one key, its kind."""
    return {**asdict(recipe), "steps": [step_to_plain(step) for step in recipe.steps]}


def step_to_plain(step: Step) -> dict[str, Any]:
    """One step: `{kind: {option: value}}`."""
    if isinstance(step, Normalize):
        return {"normalize": lists(asdict(step.normalization))}
    return {KINDS[type(step)]: lists(asdict(step))}


def lists(values: Mapping[str, Any]) -> dict[str, Any]:
    """Options with tuples as lists."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def from_plain(data: Mapping[str, Any]) -> Preprocessing:
    """The recipe that `to_plain` gave. Raises ValueError with a sentence where the data are something else."""
    try:
        given = [step["normalize"] for step in data["steps"] if "normalize" in step]
        steps = ["normalize" if "normalize" in step else step for step in data["steps"]]
        normalization = normalization_of(given[0]) if given else None
        return Preprocessing.from_description({**data, "steps": steps}, normalization)
    except (KeyError, TypeError) as error:
        raise ValueError(f"its preprocessing is incomplete ({type(error).__name__}: {error})") from None


def normalization_of(data: Mapping[str, Any]) -> Normalization:
    """The normalization of a step."""
    return Normalization(triple(data["mean"]), triple(data["std"]), bool(data["to_rgb"]))
