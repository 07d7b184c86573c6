"""Training transforms against obvious definitions: an image whose objects are blocks of a color of their own."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.random import default_rng

from zoo.preprocessing.recipe import Resize
from zoo.training.augmentation.affine import random_affine, translation, warp
from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.flip import flip
from zoo.training.augmentation.mixup import average, mixup
from zoo.training.augmentation.mosaic import GRAY, mosaic
from zoo.training.augmentation.photometric import distort, shift_hsv
from zoo.training.augmentation.resize import choose_scale, resize, resize_to

COLORS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)


def scene(boxes: list[list[int]], height: int = 60, width: int = 80, ground: int = 0) -> AnnotatedImage:
    image = np.full((height, width, 3), ground, np.uint8)
    masks = np.zeros((len(boxes), height, width), np.uint8)
    for i, (x1, y1, x2, y2) in enumerate(boxes):
        image[y1:y2, x1:x2] = COLORS[i]
        masks[i, y1:y2, x1:x2] = 1
    crowd = np.array([[0, 0, 10, 10]], np.float32)
    return AnnotatedImage(image, np.array(boxes, np.float32).reshape(-1, 4), np.arange(len(boxes)), masks, crowd)


def boxes_around(masks: np.ndarray) -> np.ndarray:
    result = []
    for mask in masks:
        y, x = np.nonzero(mask)
        result.append([x.min(), y.min(), x.max() + 1, y.max() + 1])
    return np.array(result, np.float32)


def assert_consistent(image: AnnotatedImage, tolerance: float) -> None:
    """Every object's box surrounds its mask, and its mask its color."""
    assert image.masks is not None
    assert image.masks.shape[1:] == image.image.shape[:2]
    np.testing.assert_allclose(boxes_around(image.masks), image.boxes, atol=tolerance)
    for mask, label in zip(image.masks, image.labels):
        inside = cv2.erode(mask, np.ones((3, 3), np.uint8)).astype(bool)
        assert (image.image[inside] == COLORS[label]).all()


def test_flipping_moves_boxes_masks_and_crowds_with_the_pixels() -> None:
    before = scene([[5, 10, 25, 30], [40, 20, 70, 50]])
    after = flip(before)
    assert_consistent(after, 0)
    assert after.ignored is not None
    assert after.ignored.tolist() == [[70, 0, 80, 10]]
    again = flip(after)
    assert (again.image == before.image).all()
    assert (again.boxes == before.boxes).all()


def test_resizing_is_that_of_the_test_pipeline_with_everything_scaled() -> None:
    after = resize(scene([[8, 12, 24, 36], [40, 20, 72, 52]]), Resize(scale=(160, 140)))
    assert after.size == (120, 160)
    assert after.boxes.tolist() == [[16, 24, 48, 72], [80, 40, 144, 104]]
    assert_consistent(after, 0)


def test_value_takes_a_listed_scale_and_range_one_between() -> None:
    random = default_rng(0)
    scales = [(1333, 640), (1333, 800)]
    assert {choose_scale(scales, "value", random) for _ in range(50)} == set(scales)
    drawn = [choose_scale(scales, "range", random) for _ in range(500)]
    assert {max(s) for s in drawn} == {1333}
    assert {min(s) for s in drawn} > {640, 700, 800}
    assert all(640 <= min(s) <= 800 for s in drawn)


def test_photometric_distortion_keeps_greys_grey_and_reaches_every_branch() -> None:
    image = np.full((4, 4, 3), 100, np.uint8)
    values = set()
    for seed in range(200):
        out = distort(image, default_rng(seed))
        assert out.dtype == np.uint8
        assert (out == out[0, 0, 0]).all(), "without color there is no hue, no saturation, no channel to exchange"
        values.add(int(out[0, 0, 0]))
    assert min(values) < 50
    assert max(values) > 150
    assert 100 in values, "each part is left out half of the time"


def test_hsv_shifts_by_no_more_than_the_given_amounts() -> None:
    hsv = np.full((2, 2, 3), (3, 100, 120), np.uint8)
    image = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    for seed in range(100):
        h, s, v = cv2.cvtColor(shift_hsv(image, default_rng(seed)), cv2.COLOR_BGR2HSV)[0, 0].astype(int)
        assert min((h - 3) % 180, (3 - h) % 180) <= 7  # rounding of the two conversions included
        assert abs(s - 100) <= 33
        assert abs(v - 120) <= 31


@pytest.mark.parametrize("seed", range(5))
def test_a_mosaic_is_four_images_around_a_point(seed: int) -> None:
    size = (60, 80)
    parts = [scene([[10, 10, 40, 40]], ground=10 * (i + 1)) for i in range(4)]
    result = mosaic(parts, size, default_rng(seed))
    assert result.size == (120, 160)
    random = default_rng(seed)
    x, y = int(random.uniform(0.5, 1.5) * 80), int(random.uniform(0.5, 1.5) * 60)
    corners = [(x - 80, y - 60), (x, y - 60), (x - 80, y), (x, y)]
    expected = np.full((120, 160, 3), GRAY, np.uint8)
    for part, (left, top) in zip(parts, corners):
        for row in range(60):
            for column in range(80):
                if 0 <= top + row < 120 and 0 <= left + column < 160:
                    expected[top + row, left + column] = part.image[row, column]
    assert (result.image == expected).all()
    assert_consistent(result, 0)


def test_mixup_is_the_mean_of_both_with_the_objects_of_both() -> None:
    first, second = scene([[0, 0, 20, 20]]), scene([[40, 30, 60, 50]])
    mixed = average(first, second)
    assert (mixed.image == (first.image.astype(int) + second.image) // 2).all()
    assert mixed.boxes.tolist() == [[0, 0, 20, 20], [40, 30, 60, 50]]
    result = mixup(first, second, (60, 80), default_rng(1))
    assert result.size == first.size
    assert result.boxes[0].tolist() == [0, 0, 20, 20]
    assert result.masks is not None
    np.testing.assert_allclose(boxes_around(result.masks), result.boxes, atol=1.01)


def test_an_affine_map_moves_boxes_with_pixels() -> None:
    before = scene([[10, 10, 30, 30], [50, 20, 70, 50]])
    moved = warp(before, translation(5, -10), (60, 80))
    assert moved.boxes.tolist() == [[15, 0, 35, 20], [55, 10, 75, 40]]
    assert_consistent(moved, 0)
    middle = random_affine(resize_to(before, (160, 120)), (60, 80), default_rng(0), 0, 0, (0.5, 0.5), 0)
    np.testing.assert_allclose(middle.boxes, before.boxes, atol=1e-3)
    assert_consistent(middle, 1)


def test_what_leaves_the_image_leaves_the_annotations() -> None:
    gone = warp(scene([[10, 10, 30, 30], [50, 20, 70, 50]]), translation(-35, 0), (60, 80))
    assert gone.labels.tolist() == [1]
    assert gone.boxes.tolist() == [[15, 20, 35, 50]]
    assert_consistent(gone, 0)
