"""Changes of colors are Pillow's, which the papers' own programs use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageOps

from zoo.training.augmentation import colors


def photo() -> Any:
    random = np.random.default_rng(0)
    ramp = np.linspace(20, 200, 60)[None, :, None] * np.array([0.6, 0.9, 1.0])
    return np.clip(ramp + random.normal(0, 15, (40, 60, 3)), 0, 255).astype(np.uint8)


PAIRS: dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any], int]] = {
    "equalize": (colors.equalize, ImageOps.equalize, 0),
    "auto_contrast": (colors.auto_contrast, ImageOps.autocontrast, 1),
    "posterize": (lambda x: colors.posterize(x, 3), lambda x: ImageOps.posterize(x, 3), 0),
    "solarize": (lambda x: colors.solarize(x, 100), lambda x: ImageOps.solarize(x, 100), 0),
    "brightness": (lambda x: colors.brightness(x, 1.3), lambda x: ImageEnhance.Brightness(x).enhance(1.3), 1),
    "color": (lambda x: colors.color(x, 0.4), lambda x: ImageEnhance.Color(x).enhance(0.4), 2),
    "contrast": (lambda x: colors.contrast(x, 0.5), lambda x: ImageEnhance.Contrast(x).enhance(0.5), 2),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_change_is_pillows(name: str) -> None:
    ours, theirs, tolerance = PAIRS[name]
    bgr = photo()
    other = np.asarray(theirs(Image.fromarray(bgr[..., ::-1].copy())))[..., ::-1]
    assert np.abs(ours(bgr).astype(int) - other.astype(int)).max() <= tolerance


def test_an_image_of_one_color_stays_as_it_is() -> None:
    plain = np.full((8, 8, 3), 77, np.uint8)
    assert (colors.equalize(plain) == plain).all()
    assert (colors.auto_contrast(plain) == plain).all()


def test_every_change_comes_up() -> None:
    random, bgr = np.random.default_rng(0), photo()
    changed = [colors.random_color(bgr, random) for _ in range(60)]
    assert all(image.shape == bgr.shape and image.dtype == np.uint8 for image in changed)
    assert 1 <= sum((image == bgr).all() for image in changed) <= 20
