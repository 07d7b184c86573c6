"""Bytes (H, W, 3) -> a network's input (3, H, W), in one pass.

A byte has 256 values, so what normalization makes of each is looked up, and written where it belongs in the padded
input. That is equal to normalizing, padding and transposing one after the other, which goes through memory four times.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from zoo.preprocessing.recipe import Normalization, Triple


def to_chw(
    image: NDArray[np.uint8], normalization: Normalization | None, size: tuple[int, int], fill: Triple
) -> NDArray[np.float32]:
    """(3, *size) float32 in the network's channel order from (H, W, 3) BGR in its corner, and `fill` elsewhere."""
    height, width = image.shape[:2]
    out = np.empty((3, *size), np.float32)
    channels = cv2.split(image)
    if normalization is not None and normalization.to_rgb:
        channels = channels[::-1]
    for target, channel, table, value in zip(out, channels, tables(normalization), fill):
        cv2.LUT(channel, table, target[:height, :width])
        target[height:] = target[:height, width:] = value
    return out


@lru_cache(maxsize=16)
def tables(normalization: Normalization | None) -> list[NDArray[np.float32]]:
    """For each channel of the network's input the float32 that stands for each byte, (1, 256)."""
    values = np.arange(256, dtype=np.float32)[None, :, None].repeat(3, axis=2)
    values = values if normalization is None else normalize(values, normalization)
    return [np.ascontiguousarray(values[:, :, channel]) for channel in range(3)]


def normalize(image: np.ndarray, normalization: Normalization) -> np.ndarray:
    """(H, W, 3) BGR -> float32, in the network's channel order.

    OpenCV subtracts and multiplies by the reciprocal with double-precision scalars and rounds to float32 after each.
    """
    out: np.ndarray = image.astype(np.float32)
    if normalization.to_rgb:
        cv2.cvtColor(out, cv2.COLOR_BGR2RGB, out)
    mean = np.array([normalization.mean], np.float32).astype(np.float64)
    std = np.array([normalization.std], np.float32).astype(np.float64)
    cv2.subtract(out, mean, out)
    cv2.multiply(out, 1 / std, out)
    return out
