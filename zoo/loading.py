"""From a model's name to a network: build, load, and load a file of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from zoo.errors import UnknownModel
from zoo.models.build import build_detector


def build(name_or_spec: str | Mapping[str, Any]) -> nn.Module:
    """A network, freshly initialised, in eval mode.

    name_or_spec: the name of a model or of an architecture, or a description `{type: ..., backbone: ...}` (also as
    `{model: {...}, train_cfg: ...}`). Raises UnknownModel, BuildError.
    """
    if not isinstance(name_or_spec, str):
        return build_detector(unwrap(name_or_spec))
    from zoo import manifest
    from zoo.preprocess import preprocessor

    try:
        name = manifest.get(name_or_spec).architecture
    except UnknownModel:
        if name_or_spec not in manifest.architecture_names():
            raise
        name = name_or_spec
    model = build_detector(manifest.architecture(name))
    model.preprocess = preprocessor(name_or_spec)
    return model


def unwrap(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """The detector's description, with `train_cfg` and `test_cfg` from beside it where they stand there."""
    if "model" not in spec:
        return spec
    beside = {k: spec[k] for k in ("train_cfg", "test_cfg") if spec.get(k) is not None}
    return {**beside, **spec["model"]}


def load(name: str, device: str = "cpu") -> nn.Module:
    """A published model with its weights: fetched, built, strictly loaded, in eval mode."""
    from zoo.fetch import fetch

    return load_file(fetch(name), name, device)


def load_file(path: str | Path, name: str | None = None, device: str = "cpu") -> nn.Module:
    """A checkpoint of the user's own, in eval mode.

    name: of a model or architecture; without it, the architecture comes from the config text in the checkpoint.
    Raises UnsafeCheckpoint, CorruptCheckpoint, MismatchedCheckpoint, UnknownModel, BuildError.
    """
    raise NotImplementedError
