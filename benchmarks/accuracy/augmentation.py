"""A model with test-time augmentation, as `bench accuracy --tta` measures it."""

from __future__ import annotations

from typing import Any

from benchmarks.accuracy.config import EvalConfig
from zoo.errors import UnknownModel, UsageError
from zoo.manifest import api
from zoo.models.detectors.augmented import Augmented
from zoo.models.detectors.base import Detector


def augmented(model: Detector, name: str, config: EvalConfig) -> Any:
    """The model with three scales and mirror images, or with CenterNet's own averages. Raises UsageError."""
    if config.batch_size > 1:
        raise UsageError("--tta looks at one image at a time; leave --batch-size out.")
    try:
        recipe = api.preprocessing(name)
    except UnknownModel:
        raise UsageError("--tta needs a model of the zoo, whose preprocessing is known.") from None
    if recipe.flip:
        raise UsageError(f"The published accuracy of {name} is with mirror images already; leave --tta out.")
    return Augmented(model, recipe)
