"""Which architecture a file without a configuration belongs to, by the names that authors give its tensors.

Some networks have the same tensors and compute something else: DETR with a dilated last stage, Deformable DETR with and
without refined boxes. What tells them apart is looked for in the file's content, in the configuration beside it and in
its name; where nothing does, that is said, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo.checkpoint.checkpoint import Checkpoint
from zoo.checkpoint.convert.diagnosis import PREDICTORS, differences
from zoo.checkpoint.convert.rename import adapt, dialect
from zoo.checkpoint.convert.to_transformers import beside
from zoo.checkpoint.convert.transformers_config import refines
from zoo.download.digest import of_file
from zoo.download.recognize import files_of
from zoo.errors import BuildError
from zoo.manifest import api
from zoo.models.build import build_detector

Shapes = dict[str, tuple[int, ...]]
Fit = tuple[str, dict[str, Any], dict[str, Tensor]]
"""(architecture, its description for as many classes as the file has, the file's tensors in its names)."""

OUTPUT_STRIDE_DILATED = 16
"""timm's word for a dilated last stage."""


def description_of(checkpoint: Checkpoint) -> tuple[str, dict[str, Any]] | None:
    """(architecture, description for as many classes as the file has), or None for a file in no known names.

    Raises BuildError where the tensors are those of several networks that detect differently, and nothing tells which.
    """
    known = dialect(checkpoint.state_dict)
    candidates = [fit(checkpoint, name) for name in (known.architectures if known is not None else ())]
    fits = told_apart([each for each in candidates if each is not None], checkpoint.path)
    if len(fits) > 1:
        raise BuildError(ambiguous(checkpoint.path, [name for name, _, _ in fits]))
    return fits[0][:2] if fits else None


def ambiguous(path: Path | None, names: Sequence[str]) -> str:
    """What to do with a file that may belong to several networks."""
    listed = f"{', of '.join(names[:-1])} and of {names[-1]}"
    return (
        f"{path or 'the checkpoint'} has the tensors of {listed}, which detect differently, and neither its content, "
        f"its name nor a config.json beside it says which it is; pass the name (--name {names[0]})"
    )


def fit(checkpoint: Checkpoint, name: str) -> Fit | None:
    """What a file is as a checkpoint of an architecture; None for one of another architecture."""
    description = api.architecture(name)
    expected = shapes_of(description)
    state, _ = adapt(checkpoint.state_dict, expected, checkpoint.meta)
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    missing, surplus, other = differences(shapes, expected)
    if missing or surplus or not all(map(PREDICTORS.search, other)):
        return None
    if not other:
        return name, description, state
    resized = for_classes(description, len(state[other[0]]) - expected[other[0]][0])
    return (name, resized, state) if resized is not None and shapes_of(resized) == shapes else None


def shapes_of(description: Mapping[str, Any]) -> Shapes:
    """Names and shapes of a network, without memory and without random numbers."""
    with torch.device("meta"):
        network = build_detector(description)
    return {key: tuple(tensor.shape) for key, tensor in network.state_dict().items()}


def for_classes(description: Mapping[str, Any], more: int) -> dict[str, Any] | None:
    """A description for so many classes more or fewer; None where it does not say how many it has in one place."""
    for key in ("bbox_head", "mask_head"):
        head = description.get(key)
        if isinstance(head, Mapping) and isinstance(head.get("num_classes"), int):
            return {**description, key: {**head, "num_classes": head["num_classes"] + more}}
    return None


def told_apart(fits: Sequence[Fit], path: Path | None) -> list[Fit]:
    """The networks that a file may belong to, of those with its tensors."""
    fits = [(name, description, state) for name, description, state in fits if as_refined(description, state)]
    if len(fits) < 2 or path is None:
        return list(fits)
    published = published_as(path, [name for name, _, _ in fits])
    if published is not None:
        return [each for each in fits if each[0] == published]
    said = says_dilated(path)
    return [each for each in fits if said is None or is_dilated(each[1]) == said]


def as_refined(description: Mapping[str, Any], state: Mapping[str, Tensor]) -> bool:
    """Whether the tensors of a Deformable DETR agree with whether its boxes are refined.

    Without refinement all layers share their box predictor, so a file has the same tensor for each of them.
    """
    if "bbox_head.reg_branches.1.0.weight" not in state:
        return True
    head = description.get("bbox_head", {})
    return refines(state) == bool(head.get("with_box_refine", description.get("with_box_refine")))


def is_dilated(description: Mapping[str, Any]) -> bool:
    """Whether a stage of the backbone is dilated."""
    return any(dilation > 1 for dilation in description["backbone"].get("dilations", ()))


def says_dilated(path: Path) -> bool | None:
    """Whether a DETR is dilated, by the configuration beside its file or by its name; None if neither says."""
    config = beside(path)
    if "model_type" in config or "dilation" in config:
        timm = config.get("backbone_kwargs")
        stride = timm.get("output_stride") if isinstance(timm, dict) else None
        return config.get("dilation") is True or stride == OUTPUT_STRIDE_DILATED
    return True if "dc5" in path.name.lower() else None


def published_as(path: Path, names: Sequence[str]) -> str | None:
    """The architecture, of these, of the published file that this one is by its content."""
    digest = of_file(path).sha256
    entries = [api.catalog().entry(name) for name in api.catalog().models if api.get(name).architecture in names]
    for entry in entries:
        if any(file.sha256 and digest.startswith(file.sha256.lower()) for file in files_of(entry)):
            return entry.architecture
    return None
