"""Changes of brightness, contrast, saturation and hue, which leave boxes where they are."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Image = NDArray[np.uint8]


def distort(image: Image, random: Generator) -> Image:
    """Photometric distortion (Liu et al., SSD, 2016; Howard, 2013), each part with probability one half.

    Brightness by up to 32; contrast (before or after color), saturation by 0.5 to 1.5; hue by up to 18 degrees;
    channels exchanged. image: (H, W, 3) BGR uint8.
    """
    pixels = image.astype(np.float32)
    if random.random() < 0.5:
        pixels += random.uniform(-32, 32)
    contrast_first = random.random() < 0.5
    if contrast_first:
        pixels = _contrast(pixels, random)
    pixels = _color(pixels, random)
    if not contrast_first:
        pixels = _contrast(pixels, random)
    if random.random() < 0.5:
        pixels = pixels[..., random.permutation(3)]
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _contrast(pixels: NDArray[np.float32], random: Generator) -> NDArray[np.float32]:
    return pixels * np.float32(random.uniform(0.5, 1.5)) if random.random() < 0.5 else pixels


def _color(pixels: NDArray[np.float32], random: Generator) -> NDArray[np.float32]:
    """Saturation and hue, in HSV with hue in degrees."""
    hsv: NDArray[np.float32] = cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV)  # type: ignore[assignment]
    if random.random() < 0.5:
        hsv[..., 1] *= random.uniform(0.5, 1.5)
    if random.random() < 0.5:
        hsv[..., 0] = (hsv[..., 0] + random.uniform(-18, 18)) % 360
    back: NDArray[np.float32] = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)  # type: ignore[assignment]
    return back


def shift_hsv(image: Image, random: Generator, hue: int = 5, saturation: int = 30, value: int = 30) -> Image:
    """YOLOX's color augmentation (Ge et al., 2021): each of H, S and V shifted by up to so much, or left alone.

    image: (H, W, 3) BGR uint8. Hue is OpenCV's, from 0 to 179, and turns round; the others are cut at 0 and 255.
    """
    shifts = random.uniform(-1, 1, 3) * (hue, saturation, value) * random.integers(0, 2, 3)
    hsv = cv2.cvtColor(image, cv2.COLOR_BGR2HSV).astype(np.int16) + shifts.astype(np.int16)
    hsv[..., 0] %= 180
    hsv[..., 1:] = np.clip(hsv[..., 1:], 0, 255)
    return cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)  # type: ignore[return-value]
