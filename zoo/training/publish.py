"""Checkpoints in the published format: `{"meta", "state_dict"}`, with text in `meta` that describes the network."""

from __future__ import annotations

import glob
import os
import pprint
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from zoo.errors import DataError
from zoo.preprocessing.recipe import Normalize, Pad, Preprocessing, Resize, Step
from zoo.system.atomic_write import atomic_path


def make_meta(
    description: Mapping[str, Any], recipe: Preprocessing, classes: Sequence[str], **facts: Any
) -> dict[str, Any]:
    """What `zoo.load_file` and MMDetection's tools read: `CLASSES` and `config`, text in MMDetection 2.x's form."""
    return {"config": config_text(description, recipe, classes), "CLASSES": list(classes), **facts}


def config_text(description: Mapping[str, Any], recipe: Preprocessing, classes: Sequence[str]) -> str:
    """Assignments of literals, which `zoo.checkpoint.config.mmdet_config` parses again."""
    pipeline = test_pipeline(recipe)
    parts = {
        "model": dict(description),
        "test_pipeline": pipeline,
        "data": {"test": {"classes": list(classes), "pipeline": pipeline}},
    }
    return "\n".join(f"{name} = {pprint.pformat(value, width=110, sort_dicts=False)}" for name, value in parts.items())


def test_pipeline(recipe: Preprocessing) -> list[dict[str, Any]]:
    """The recipe as MMDetection 2.x writes it: the inverse of `zoo.preprocessing.mmdet_pipeline.parse_pipeline`."""
    resize = next((step for step in recipe.steps if isinstance(step, Resize)), None)
    outer: dict[str, Any] = {"type": "MultiScaleFlipAug", "flip": recipe.flip}
    if resize is not None and resize.scale is not None:
        outer["img_scale"] = list(resize.scale)
    else:
        outer["scale_factor"] = 1.0 if resize is None or resize.factor is None else resize.factor
    steps = [*(transform(step) for step in recipe.steps), {"type": "Collect", "keys": ["img"]}]
    load = {"type": "LoadImageFromFile"} | ({"to_float32": True} if recipe.float32 else {})
    load |= {"imdecode_backend": recipe.decoder} if recipe.decoder != "opencv" else {}
    proposals = [] if recipe.proposals is None else [{"type": "LoadProposals", "num_max_proposals": recipe.proposals}]
    return [load, *proposals, {**outer, "transforms": steps}]


def transform(step: Step) -> dict[str, Any]:
    """One step of a recipe as a transform of MMDetection 2.x."""
    if isinstance(step, Resize):
        backend = {} if step.backend == "opencv" else {"backend": step.backend}
        return {"type": "Resize", "keep_ratio": step.keep_ratio, **backend}
    if isinstance(step, Normalize):
        n = step.normalization
        return {"type": "Normalize", "mean": list(n.mean), "std": list(n.std), "to_rgb": n.to_rgb}
    if isinstance(step, Pad):
        fill: dict[str, Any] = {"pad_val": {"img": list(step.value)}} if any(step.value) else {}
        fill |= {"part_of_image": True} if step.part_of_image else {}
        if step.size is not None:
            return {"type": "Pad", "size": list(step.size), **fill}
        return {"type": "Pad", **({"pad_to_square": True} if step.square else {"size_divisor": step.divisor}), **fill}
    mode = ["logical_or", step.bits] if step.bits is not None else ["size_divisor", step.divisor]
    extra = {"test_pad_add_pix": step.add} if step.add else {}
    norm = {"mean": list(step.value), "std": [1.0, 1.0, 1.0]}
    return {"type": "RandomCenterCropPad", "test_mode": True, "test_pad_mode": mode, **extra, **norm, "crop_size": None}


def publish(network: nn.Module, meta: Mapping[str, Any], folder: Path, name: str) -> Path:
    """Write `NAME-HASH.pth`, HASH being the first 8 hex digits of the file's SHA-256. Returns its path."""
    state = {key: value.detach().cpu().clone() for key, value in network.state_dict().items()}
    part = folder / f".{name}.{os.getpid()}.part"
    save(part, {"meta": dict(meta), "state_dict": state})
    path = folder / f"{name}-{sha256(part.read_bytes()).hexdigest()[:8]}.pth"
    os.replace(part, path)
    return path


def published_before(network: nn.Module, folder: Path, name: str) -> Path | None:
    """The file in `folder` that `publish` wrote of these weights; None where there is none, or it changed since."""
    state = network.state_dict()
    for path in sorted(folder.glob(f"{glob.escape(name)}-{'[0-9a-f]' * 8}.pth")):
        if sha256(path.read_bytes()).hexdigest()[:8] == path.stem[-8:] and same_weights(path, state):
            return path
    return None


def same_weights(path: Path, state: Mapping[str, Tensor]) -> bool:
    """Whether a published file has exactly these tensors."""
    other = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    return other.keys() == state.keys() and all(torch.equal(other[key], value.cpu()) for key, value in state.items())


def save(path: Path, content: Mapping[str, Any]) -> None:
    """`torch.save`, so that `path` is the old file or the new one, never half of one. Raises DataError."""
    try:
        with atomic_path(path) as temporary:
            torch.save(content, temporary)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error).splitlines()[0]
        raise DataError(f"{path} could not be written: {reason}. Whatever it held before is still there.") from None


def remove_leftovers(folder: Path) -> None:
    """Delete the unfinished checkpoints of processes that were killed while they wrote."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def make_folder(path: Path) -> None:
    """Make a run's folder. Raises DataError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path} cannot be made: {error.strerror}.") from None
