"""A model with test-time augmentation, as `bench accuracy --tta` measures it."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.config import EvalConfig
from zoo.errors import UsageError
from zoo.models.detectors.augmented import Augmented, recipe_of
from zoo.models.detectors.base import Detector


def augmented(model: Detector, name: str, config: EvalConfig) -> Any:
    """The model with scales and mirror images, or with CenterNet's own averages. Raises UsageError."""
    if config.batch_size > 1:
        raise UsageError("--tta looks at one image at a time; leave --batch-size out.")
    recipe = recipe_of(model)
    if recipe.flip:
        raise UsageError(f"{name} is evaluated with mirror images already, as published; leave --tta out.")
    return Augmented(model, recipe)
