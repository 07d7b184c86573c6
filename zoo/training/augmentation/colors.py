"""Nine ways to change an image's colors, of which one is drawn (Cubuk et al., RandAugment, 2019, without its
geometry). Images are (H, W, 3) BGR uint8; magnitudes are drawn to a tenth, as the reference does."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Table = NDArray[np.uint8]
SMOOTH = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float64) / 13


def random_color(image: Image, random: Generator) -> Image:
    """One of the nine changes, each as likely as another, one of which is none."""
    return CHANGES[int(random.integers(len(CHANGES)))](image, random)


def magnitude(random: Generator, least: float, most: float) -> float:
    """A number between the two, to a tenth."""
    return round(float(random.uniform(least, most)), 1)


def blend(image: Image, other: Image, factor: float) -> Image:
    """`other` with factor 0, the image with 1, further away from `other` above."""
    mixed = cv2.addWeighted(image.astype(np.float32), factor, other.astype(np.float32), 1 - factor, 0)
    return np.clip(mixed, 0, 255).astype(np.uint8)


def gray(image: Image) -> Image:
    """The image without colors, still (H, W, 3)."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), cv2.COLOR_GRAY2BGR)  # type: ignore[return-value]


def color(image: Image, factor: float) -> Image:
    """Less colorful below 1, more above."""
    return cv2.addWeighted(image, factor, gray(image), 1 - factor, 0)  # type: ignore[return-value]


def brightness(image: Image, factor: float) -> Image:
    """Darker below 1, brighter above."""
    return blend(image, np.zeros_like(image), factor)


def contrast(image: Image, factor: float) -> Image:
    """Nearer to the mean gray below 1, further from it above."""
    return blend(image, np.full_like(image, round(float(gray(image)[..., 0].mean(dtype=np.float64)))), factor)


def sharpness(image: Image, factor: float) -> Image:
    """Smoother below 1, sharper above."""
    return blend(image, cv2.filter2D(image, -1, SMOOTH), factor)  # type: ignore[arg-type]


def solarize(image: Image, threshold: float) -> Image:
    """Values from the threshold on are inverted."""
    return np.where(image < threshold, image, 255 - image).astype(np.uint8)


def posterize(image: Image, bits: int) -> Image:
    """Only the upper bits of each value."""
    return image & np.uint8(256 - 2 ** (8 - bits))


def equalize(image: Image) -> Image:
    """Each channel with all values about equally frequent."""
    return by_channel(image, equalizing)


def auto_contrast(image: Image) -> Image:
    """Each channel stretched to all values from 0 to 255."""
    return by_channel(image, stretching)


def by_channel(image: Image, table_of: Callable[[NDArray[np.int64]], Table]) -> Image:
    """Each channel looked up in the table that its histogram (256,) makes."""
    channels = [image[..., i] for i in range(3)]
    tables = [table_of(np.bincount(channel.ravel(), minlength=256)) for channel in channels]
    return np.stack([table[channel] for table, channel in zip(tables, channels)], axis=-1)


def equalizing(histogram: NDArray[np.int64]) -> Table:
    """How many values lie below, in steps of a 255th of all but the greatest; unchanged where there is no step."""
    step = int(histogram.sum() - histogram[histogram > 0][-1]) // 255
    if not step:
        return np.arange(256, dtype=np.uint8)
    below = np.cumsum(histogram) - histogram
    table = (below + step // 2) // step
    table[0] = 0
    return np.minimum(table, 255).astype(np.uint8)


def stretching(histogram: NDArray[np.int64]) -> Table:
    """The least value that occurs to 0, the greatest to 255; unchanged where they are the same."""
    least, most = histogram.nonzero()[0][[0, -1]]
    if least == most:
        return np.arange(256, dtype=np.uint8)
    scale = 255.0 / (most - least)
    return np.clip(np.arange(256) * scale - least * scale, 0, 255).astype(np.uint8)


CHANGES: tuple[Callable[[Image, Generator], Image], ...] = (
    lambda image, random: image,
    lambda image, random: auto_contrast(image),
    lambda image, random: equalize(image),
    lambda image, random: sharpness(image, magnitude(random, 0.1, 1.9)),
    lambda image, random: posterize(image, math.ceil(magnitude(random, 0, 4))),
    lambda image, random: solarize(image, magnitude(random, 0, 256)),
    lambda image, random: color(image, magnitude(random, 0.1, 1.9)),
    lambda image, random: contrast(image, magnitude(random, 0.1, 1.9)),
    lambda image, random: brightness(image, magnitude(random, 0.1, 1.9)),
)
