"""One training batch as a file that every implementation reads: resized images and their objects.

An npz file: `count`, and for each image `imageI` (3, H, W) float32, BGR from 0 to 255, neither normalized nor padded,
`boxesI` (M, 4) float32 xyxy, `labelsI` (M,) int64, `masksI` (M, H, W) bool. Where the network learns from them:
`keypointsI` (M, 17, 3) float32 as x, y and visibility, `semanticI` (H, W) uint8, classes of pixels (things before
stuff, 255 for unknown), and `proposalsI` (R, 4) float32 xyxy.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed.generated import Generated, proposals
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.models.supervision import supervision
from zoo.preprocessing.recipe import Pad, Preprocessing, Resize
from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.resize import resize
from zoo.training.dataset import Batch, Prepared, as_tensor, collate, grown, normalized_or_padded

TARGETS = ("boxes", "labels", "masks", "semantic", "keypoints", "proposals")


def write(path: Path, name: str, count: int = 2, shorter: int | None = None) -> Path:
    """Generated images at the size that a model is published for, or with so many pixels on the shorter side."""
    classes, needed = api.dataset(api.representative(name).dataset).classes, supervision(api.architecture(name))
    folder, content = Generated(classes, replace(needed, masks=True)), {"count": np.array(count)}
    recipe = api.preprocessing(name)
    check_size(recipe, shorter)
    steps = [smaller(step, shorter) for step in recipe.steps if isinstance(step, Resize)]
    for i in range(count):
        annotated = folder[i]
        for step in steps:
            annotated = resize(annotated, step)
        content |= {f"{key}{i}": value for key, value in parts(annotated).items()}
        if needed.proposals:
            content[f"proposals{i}"] = proposals(annotated.boxes, annotated.size, i)
    with path.open("wb") as file:
        np.savez(file, **content)  # type: ignore[arg-type]
    return path


def parts(annotated: AnnotatedImage) -> dict[str, np.ndarray]:
    """An image and what is known about it, by the names in the file."""
    image = annotated.image.transpose(2, 0, 1).astype(np.float32)
    result: dict[str, np.ndarray] = {"image": image, "boxes": annotated.boxes, "labels": annotated.labels}
    if annotated.masks is not None:
        result["masks"] = annotated.masks.astype(bool)
    if annotated.semantic is not None:
        result["semantic"] = annotated.semantic
    if annotated.keypoints is not None:
        result["keypoints"] = annotated.keypoints.points
    return result


def check_size(recipe: Preprocessing, shorter: int | None) -> None:
    """Raise UsageError for a size that a network cannot take: SSD has one size, YOLOX takes certain squares."""
    if shorter is None:
        return
    if any(isinstance(step, Resize) and step.scale and not step.keep_ratio for step in recipe.steps):
        raise UsageError("--size: this model takes images of one size.")
    if shorter % 32 and any(isinstance(step, Pad) and step.square for step in recipe.steps):
        raise UsageError("--size: this model takes squares whose side is a multiple of 32 pixels.")


def smaller(step: Resize, shorter: int | None) -> Resize:
    """The step for another shorter side; UsageError for one that has no size of its own."""
    if shorter is None:
        return step
    if step.scale is None:
        raise UsageError("--size: this model is published for the images' own sizes.")
    factor = shorter / min(step.scale)
    return replace(step, scale=(round(step.scale[0] * factor), round(step.scale[1] * factor)))


def read(path: Path, name: str) -> Batch:
    """The batch as a network of ours takes it: normalized and padded as its recipe says."""
    content, recipe, stride = np.load(path), api.preprocessing(name), map_stride(name)
    batch = collate([prepared(content, i, recipe) for i in range(int(content["count"]))])
    for target in batch.targets:
        if "semantic" in target:
            target["semantic"] = target["semantic"][::stride, ::stride]
    return batch


def map_stride(name: str) -> int:
    """How many pixels apart those are whose classes are learned: MMDetection's Panoptic FPN learns every fourth's."""
    quarter = api.architecture(name)["type"] == "PanopticFPN" and api.representative(name).origin == "mmdetection"
    return 4 if quarter else 1


def prepared(content: np.lib.npyio.NpzFile, i: int, recipe: Preprocessing) -> Prepared:
    """One image and its target."""
    image = np.ascontiguousarray(content[f"image{i}"].transpose(1, 2, 0))
    size = (image.shape[0], image.shape[1])
    for step in recipe.steps:
        image = normalized_or_padded(step, image)  # it has its size already
    target = {key: torch.from_numpy(content[f"{key}{i}"]) for key in TARGETS if f"{key}{i}" in content}
    tensor = as_tensor(image)
    return Prepared(tensor, size, grown(target, tensor.shape[1], tensor.shape[2]))
