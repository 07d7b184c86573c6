"""One training batch as a file that every implementation reads: resized images and their objects.

An npz file: `count`, and for each image `imageI` (3, H, W) float32, BGR from 0 to 255, neither normalized nor padded,
`boxesI` (M, 4) float32 xyxy, `labelsI` (M,) int64, `masksI` (M, H, W) bool.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.training import Generated
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.preprocessing.normalize import normalize
from zoo.preprocessing.preprocess import pad
from zoo.preprocessing.recipe import Normalize, Pad, Preprocessing, Resize
from zoo.training.augmentation.resize import resize
from zoo.training.dataset import Batch, Prepared, collate


def write(path: Path, name: str, count: int = 2, shorter: int | None = None) -> Path:
    """Generated images at the size that a model is published for, or with so many pixels on the shorter side."""
    classes = api.dataset(api.representative(name).dataset).classes
    folder, content = Generated(classes, masks=True), {"count": np.array(count)}
    steps = [smaller(step, shorter) for step in api.preprocessing(name).steps if isinstance(step, Resize)]
    for i in range(count):
        annotated = folder[i]
        for step in steps:
            annotated = resize(annotated, step)
        assert annotated.masks is not None
        content[f"image{i}"] = annotated.image.transpose(2, 0, 1).astype(np.float32)
        content[f"boxes{i}"], content[f"labels{i}"] = annotated.boxes, annotated.labels
        content[f"masks{i}"] = annotated.masks.astype(bool)
    with path.open("wb") as file:
        np.savez(file, **content)  # type: ignore[arg-type]
    return path


def smaller(step: Resize, shorter: int | None) -> Resize:
    """The step for another shorter side; UsageError for one that has no size of its own."""
    if shorter is None:
        return step
    if step.scale is None:
        raise UsageError("--size: this model is published for the images' own sizes.")
    factor = shorter / min(step.scale)
    return replace(step, scale=(round(step.scale[0] * factor), round(step.scale[1] * factor)))


def read(path: Path, recipe: Preprocessing) -> Batch:
    """The batch as our networks take it: normalized and padded as a model's recipe says."""
    content = np.load(path)
    return collate([prepared(content, i, recipe) for i in range(int(content["count"]))])


def prepared(content: np.lib.npyio.NpzFile, i: int, recipe: Preprocessing) -> Prepared:
    """One image and its target."""
    image = content[f"image{i}"].transpose(1, 2, 0)
    size = (image.shape[0], image.shape[1])
    for step in recipe.steps:
        if isinstance(step, Normalize):
            image = normalize(np.ascontiguousarray(image), step.normalization)
        elif isinstance(step, Pad):
            image = pad(step, image)
    target = {key: torch.from_numpy(content[f"{key}{i}"]) for key in ("boxes", "labels", "masks")}
    tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))
    below = (0, tensor.shape[2] - size[1], 0, tensor.shape[1] - size[0])
    target["masks"] = torch.nn.functional.pad(target["masks"], below)
    return Prepared(tensor, size, target)
