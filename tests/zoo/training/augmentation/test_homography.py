"""A matrix says where each pixel of a moved image came from."""

from __future__ import annotations

import numpy as np
import pytest

from zoo.training.augmentation.erasing import erase
from zoo.training.augmentation.homography import MOVES, Moved, random_move


def spot(size: tuple[int, int] = (100, 140)) -> Moved:
    """White, with a smooth dark spot around (60.0, 45.0) of pixel indices."""
    y, x = np.mgrid[: size[0], : size[1]]
    dark = 255 * np.exp(-((x - 60) ** 2 + (y - 45) ** 2) / 40)
    return Moved(np.repeat((255 - dark).astype(np.uint8)[..., None], 3, axis=2), np.eye(3))


def place(moved: Moved) -> np.ndarray:
    """The middle (x, y) of the dark spot, in pixel indices; the border's gray is lighter than its core."""
    dark = np.clip(90 - moved.image[..., 0].astype(float), 0, None)
    y, x = np.mgrid[: moved.size[0], : moved.size[1]]
    return np.array([(x * dark).sum(), (y * dark).sum()]) / dark.sum()


@pytest.mark.parametrize("kind", MOVES, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_move_takes_pixels_where_its_matrix_says(kind: object, sign: int) -> None:
    amount = 0.1 if kind.__name__.startswith("shift") else 11.0  # type: ignore[attr-defined]
    moved = spot().warped(kind(spot().size, sign * amount))  # type: ignore[operator]
    assert np.abs(place(moved) - (moved.matrix @ [60, 45, 1])[:2]).max() < 0.3


def test_matrices_of_several_moves_are_one() -> None:
    moved = spot().resized((210, 150)).mirrored()
    # Resizing and mirroring keep the image's corners, half a pixel outside of the first and last pixels.
    assert np.abs(place(moved) + 0.5 - (moved.matrix @ [60.5, 45.5, 1])[:2]).max() < 0.3
    random = np.random.default_rng(3)
    for _ in range(5):
        again = random_move(moved, random)
        assert again.size == moved.size
        assert np.abs(place(again) - (again.matrix @ [60, 45, 1])[:2]).max() < 2


def test_patches_hide_a_part_and_leave_the_original_alone() -> None:
    image = np.zeros((60, 80, 3), np.uint8)
    erased = erase(image, np.random.default_rng(1))
    assert not image.any()
    assert 0 < (erased == 128).all(axis=2).sum() <= 5 * 12 * 16
