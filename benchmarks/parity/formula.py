"""Weights and images that are pure functions of names and shapes, so that neither has to be stored.

The recorded results were computed with exactly these values: any change here makes all records worthless.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

STATISTICS = ("running_mean", "running_var")
Gains = Sequence[tuple[str, float]]


def fill(model: nn.Module, gains: Gains) -> None:
    """Set every parameter and batch norm statistic of `model`.

    gains: (prefix, factor), to keep activations in a sensible range; the last prefix that a name starts with counts. A
    vector's values are scaled only by a prefix that is the whole name.
    """
    values = model.state_dict(keep_vars=True)
    names = [name for name, _ in model.named_parameters()]
    names += [name for name, _ in model.named_buffers() if leaf(name) in STATISTICS]
    with torch.no_grad():
        for name in (name for name in values if name.endswith("weight_gamma")):
            # The buffer of adaptive weight standardization: the scale that the standardized weight should have.
            values[name].fill_(1 / np.sqrt(fan_in(values[name.removesuffix("_gamma")].shape)))
        for name in names:
            values[name].copy_(torch.from_numpy(draw(name, tuple(values[name].shape), gains)))


def draw(name: str, shape: tuple[int, ...], gains: Gains) -> np.ndarray:
    """float32 values of `shape` for the parameter or statistic `name`."""
    count = int(np.prod(shape))
    noise = np.random.RandomState(zlib.crc32(name.encode())).random_sample(count) * 2.0 - 1.0
    return spread(name, shape, noise, gains).reshape(shape).astype(np.float32)


def spread(name: str, shape: tuple[int, ...], noise: np.ndarray, gains: Gains) -> np.ndarray:
    """Noise in [-1, 1) in the range that suits the kind of value."""
    gain = next((factor for prefix, factor in reversed(gains) if name.startswith(prefix)), 1.0)
    if "init_proposal_bboxes" in name:  # learned boxes, as center and size relative to the image
        return 0.5 + 0.25 * noise
    if leaf(name) == "running_var":
        return 1.0 + 0.5 * noise
    if leaf(name) == "running_mean":
        return 0.1 * noise
    if len(shape) >= 2:
        return gain * np.sqrt(3.0 / fan_in(shape)) * noise
    if leaf(name) in ("weight", "scale", "gamma"):
        return gain * (1.0 + 0.2 * noise)
    return 0.1 * dict(gains).get(name, 1.0) * noise


def fan_in(shape: Sequence[int]) -> int:
    """Inputs of one output."""
    return int(np.prod(shape[1:]))


def leaf(name: str) -> str:
    """The last part of a dotted name."""
    return name.rsplit(".", 1)[-1]


def image(height: int, width: int, seed: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB: two ramps and a wave, 24 flat boxes, mild noise."""
    random = np.random.RandomState(seed)
    y, x = np.mgrid[0:height, 0:width].astype(np.float64)
    canvas = np.stack([255 * x / width, 255 * y / height, 127 + 127 * np.sin(x / 17) * np.cos(y / 23)], -1)
    for _ in range(24):
        h, w = (int(random.random_sample() * side * 0.4) + 8 for side in (height, width))
        top, left = (int(random.random_sample() * (side - 8)) for side in (height, width))
        canvas[top : top + h, left : left + w] = random.random_sample(3) * 255
    canvas += (random.random_sample(canvas.shape) - 0.5) * 20
    return np.clip(np.rint(canvas), 0, 255).astype(np.uint8)


def proposals(height: int, width: int) -> Tensor:
    """(64, 4) boxes for detectors that classify given regions."""
    random = np.random.RandomState(1)
    corner = random.random_sample((64, 2)) * [width * 0.7, height * 0.7]
    extent = random.random_sample((64, 2)) * [width * 0.5, height * 0.5] + 8
    boxes = np.concatenate([corner, np.minimum(corner + extent, [width, height])], axis=1)
    return torch.from_numpy(boxes.astype(np.float32))
