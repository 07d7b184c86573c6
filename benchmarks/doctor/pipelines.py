"""A model's preprocessing as it is published, and as people get it wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image

from zoo.coco_format.image_files import ORIENTATION
from zoo.preprocessing.preprocess import apply, read_image, resized_size
from zoo.preprocessing.recipe import Normalization, Normalize, Pad, Preprocessing, Resize, Step
from zoo.structures import Sample


class Pipeline(NamedTuple):
    """From a file to a network input, with a mistake. key: empty for the published one."""

    key: str
    sentence: str
    prepare: Callable[[Path], Sample]


IDENTITY = Normalization((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), False)
NORMALIZATIONS = {
    "no-normalization": ("Pixels are not normalized: they run from 0 to 255.", IDENTITY),
    "unit-range": ("Pixels are divided by 255, and not normalized further.", replace(IDENTITY, std=(255.0,) * 3)),
    "half-range": (
        "Pixels are normalized to -1 to 1.",
        Normalization((127.5,) * 3, (127.5,) * 3, False),
    ),
    "imagenet-normalization": (
        "Pixels are normalized with ImageNet's mean and deviation (123.675, ...; 58.395, ...).",
        Normalization((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), True),
    ),
    "caffe-normalization": (
        "Pixels are normalized with Caffe's mean (103.53, 116.28, 123.675) and not divided.",
        Normalization((103.53, 116.28, 123.675), (1.0, 1.0, 1.0), False),
    ),
}
KERNELS = {
    "nearest": ("nearest neighbor", cv2.INTER_NEAREST),
    "cubic": ("bicubic interpolation", cv2.INTER_CUBIC),
    "area": ("area averaging", cv2.INTER_AREA),
}

FACTORS = (0.5, 0.77, 1.25, 1.54, 2.0)  # of the input's size


def pipelines(recipe: Preprocessing) -> Iterator[Pipeline]:
    """The published preprocessing first, then all mistakes."""
    yield Pipeline("", "", lambda path: apply(recipe, read_image(path, recipe.decoder)))
    swapped = "The channels are in the wrong order: RGB where the model wants BGR, or the reverse."
    yield Pipeline("channels", swapped, lambda path: apply(recipe, opposite(read_image(path, recipe.decoder))))
    for key, sentence, changed in recipes(recipe):
        yield Pipeline(key, sentence, preparing(changed))
    yield from by_kernel(recipe)
    ignored = "The EXIF orientation of the image files is ignored."
    yield Pipeline("exif", ignored, lambda path: apply(recipe, as_stored(path)))
    padded = "Images are padded further than the model wants, as in a batch with larger ones."
    yield Pipeline("batch-padding", padded, lambda path: extended(apply(recipe, read_image(path, recipe.decoder))))


def opposite(image: np.ndarray) -> np.ndarray:
    """The channels in reverse order."""
    return np.ascontiguousarray(image[:, :, ::-1])


def preparing(recipe: Preprocessing) -> Callable[[Path], Sample]:
    """A recipe as a function of a file."""
    return lambda path: apply(recipe, read_image(path, recipe.decoder))


def recipes(recipe: Preprocessing) -> Iterator[tuple[str, str, Preprocessing]]:
    """Mistakes that are another recipe."""
    own = next((step.normalization for step in recipe.steps if isinstance(step, Normalize)), None)
    for key, (sentence, normalization) in NORMALIZATIONS.items():
        if numbers(normalization) != numbers(own or IDENTITY):
            # Of mean and deviation only: the channels stay in the model's order.
            kept = replace(ordered(normalization, own), to_rgb=bool(own and own.to_rgb))
            yield key, f"{sentence}{wanted(own)}", normalized(recipe, kept)
    if own and own.mean != own.mean[::-1]:
        reverse = replace(own, mean=own.mean[::-1], std=own.std[::-1])
        yield "mean-order", "Mean and deviation are in the order of the other channels.", normalized(recipe, reverse)
    yield from geometries(recipe)


def ordered(normalization: Normalization, own: Normalization | None) -> Normalization:
    """A normalization with its numbers in the order of the model's channels."""
    if normalization.to_rgb == bool(own and own.to_rgb):
        return normalization
    return replace(normalization, mean=normalization.mean[::-1], std=normalization.std[::-1])


def numbers(normalization: Normalization) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation without their order."""
    return tuple(sorted(normalization.mean)), tuple(sorted(normalization.std))


def wanted(own: Normalization | None) -> str:
    """What the model wants, as the end of a sentence."""
    if own is None:
        return " The model wants pixels from 0 to 255."
    return f" The model wants mean {shown(own.mean)} and deviation {shown(own.std)}."


def shown(values: Sequence[float]) -> str:
    """Three numbers."""
    return f"({', '.join(f'{value:g}' for value in values)})"


def normalized(recipe: Preprocessing, normalization: Normalization) -> Preprocessing:
    """A recipe with another normalization, at its end where it had none."""
    steps = recipe.steps
    if not any(isinstance(step, Normalize) for step in steps):
        steps = (*steps, Normalize(normalization))
    return replace(recipe, steps=tuple(Normalize(normalization) if isinstance(s, Normalize) else s for s in steps))


def geometries(recipe: Preprocessing) -> Iterator[tuple[str, str, Preprocessing]]:
    """Other sizes, proportions and paddings."""
    if any(isinstance(step, Resize) and step.keep_ratio for step in recipe.steps):
        sentence = "Images are stretched to the input's size; the model wants their proportions kept."
        yield "stretched", sentence, changed(recipe, Resize, lambda step: replace(step, keep_ratio=False))
    if any(isinstance(step, Resize) and not step.keep_ratio for step in recipe.steps):
        sentence = "Images keep their proportions; the model wants them stretched to the input's size."
        yield "letterboxed", sentence, changed(recipe, Resize, lambda step: replace(step, keep_ratio=True))
    for backend in ("pillow", "tensor"):
        if any(isinstance(step, Resize) and step.backend != backend for step in recipe.steps):
            how = {"pillow": "Pillow, with antialiasing", "tensor": "PyTorch's interpolate"}[backend]
            other = changed(recipe, Resize, lambda step, to=backend: replace(step, backend=to))
            yield f"resize-{backend}", f"Images are resized by {how}; the model wants another interpolation.", other
    if any(isinstance(step, Pad) for step in recipe.steps):
        yield from paddings(recipe)
    for factor in FACTORS:
        sentence = f"The input has {factor:g} times the size that the model wants."
        yield f"input-size-{factor:g}", sentence, resized(recipe, factor)


def paddings(recipe: Preprocessing) -> Iterator[tuple[str, str, Preprocessing]]:
    """Another value in the padding, or another moment."""
    for value in (0.0, 114.0):
        if any(isinstance(step, Pad) and step.value != (value,) * 3 for step in recipe.steps):
            other = changed(recipe, Pad, lambda step, to=value: replace(step, value=(to,) * 3))
            yield f"padding-{value:g}", f"The padding is {value:g}; the model wants another value.", other
    steps = list(recipe.steps)
    if isinstance(steps[-1], (Normalize, Pad)) and isinstance(steps[-2], (Normalize, Pad)):
        steps[-1], steps[-2] = steps[-2], steps[-1]
        sentence = "Padding and normalization are in the wrong order."
        yield "padding-order", sentence, replace(recipe, steps=tuple(steps))


def changed(recipe: Preprocessing, kind: type, change: Callable[..., Step]) -> Preprocessing:
    """A recipe with all steps of a kind changed."""
    return replace(recipe, steps=tuple(change(step) if isinstance(step, kind) else step for step in recipe.steps))


def resized(recipe: Preprocessing, factor: float) -> Preprocessing:
    """A recipe for an input of another size, in multiples of 32."""

    def side(value: int) -> int:
        return max(32, round(value * factor / 32) * 32)

    def change(step: Step) -> Step:
        if isinstance(step, Resize) and step.scale is not None:
            return replace(step, scale=(side(step.scale[0]), side(step.scale[1])))
        if isinstance(step, Pad) and step.size is not None:
            return replace(step, size=(side(step.size[0]), side(step.size[1])))
        return step

    return replace(recipe, steps=tuple(map(change, recipe.steps)))


def by_kernel(recipe: Preprocessing) -> Iterator[Pipeline]:
    """Other interpolations of OpenCV."""
    resize = next((step for step in recipe.steps if isinstance(step, Resize)), None)
    if resize is None:
        return
    for key, (name, flag) in KERNELS.items():
        sentence = f"Images are resized by {name}; the model wants another interpolation."
        yield Pipeline(f"resize-{key}", sentence, interpolating(recipe, resize, flag))


def interpolating(recipe: Preprocessing, resize: Resize, flag: int) -> Callable[[Path], Sample]:
    """The recipe on images that have their size already."""

    def prepare(path: Path) -> Sample:
        image = read_image(path, recipe.decoder)
        height, width = image.shape[:2]
        new_width, new_height = resized_size(resize, width, height)
        sample = apply(recipe, cv2.resize(image, (new_width, new_height), interpolation=flag))
        return replace(sample, scale=(new_width / width, new_height / height), original_size=(height, width))

    return prepare


def as_stored(path: Path) -> np.ndarray:
    """The pixels of a file as they are stored, whatever its EXIF orientation says."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    return read_image(path) if image is None else image


def is_turned(path: Path) -> bool:
    """Whether a file's EXIF orientation says that its pixels are to be turned or mirrored."""
    try:
        with Image.open(path) as image:
            return image.getexif().get(ORIENTATION, 1) not in (0, 1)
    except (OSError, ValueError, SyntaxError):  # no image that Pillow reads, or broken EXIF data
        return False


def extended(sample: Sample, by: int = 128) -> Sample:
    """An input with more zeros on the right and below."""
    return replace(sample, image=torch.nn.functional.pad(sample.image, (0, by, 0, by)))
