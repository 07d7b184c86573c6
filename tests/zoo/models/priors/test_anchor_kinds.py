"""Anchors of SSD, YOLO and MMDetection 1.x."""

from __future__ import annotations

import pytest
import torch

from zoo.errors import BuildError
from zoo.models.priors.anchors import (
    AnchorGenerator,
    LegacyAnchorGenerator,
    LegacySSDAnchorGenerator,
    SSDAnchorGenerator,
    YOLOAnchorGenerator,
)
from zoo.models.priors.whole_pixels import WholePixelPointGenerator

SSD = {
    "strides": [8, 16, 32, 64, 100, 300],
    "ratios": [[2], [2, 3], [2, 3], [2, 3], [2], [2]],
    "basesize_ratio_range": [0.15, 0.9],
    "scale_major": False,
}


def sizes(anchors: torch.Tensor) -> torch.Tensor:
    return anchors[:, 2:] - anchors[:, :2]


def test_ssd_has_two_squares_and_two_shapes_per_ratio():
    generator = SSDAnchorGenerator(**SSD)
    assert generator.num_base_priors == [4, 6, 6, 6, 4, 4]
    first = generator.base_anchors[0]
    middle = (21 * 45) ** 0.5
    expected = torch.tensor([[21, 21], [middle, middle], [21 * 2**0.5, 21 / 2**0.5], [21 / 2**0.5, 21 * 2**0.5]])
    torch.testing.assert_close(sizes(first), expected)
    torch.testing.assert_close((first[:, :2] + first[:, 2:]) / 2, torch.full((4, 2), 4.0))


def test_ssd_refuses_sizes_that_it_does_not_define():
    with pytest.raises(BuildError, match="no sizes for an input of 400"):
        SSDAnchorGenerator(**{**SSD, "input_size": 400})


def test_anchors_of_ssd_can_be_kept_from_being_longer_than_the_input():
    last = SSDAnchorGenerator(**SSD, max_side=300).base_anchors[-1]
    assert sizes(last).max() == 300 < sizes(SSDAnchorGenerator(**SSD).base_anchors[-1]).max()


@pytest.mark.parametrize("cls", [LegacySSDAnchorGenerator, LegacyAnchorGenerator])
def test_legacy_anchors_are_whole_pixels(cls):
    settings = SSD if cls is LegacySSDAnchorGenerator else {"strides": [8], "ratios": [0.5, 1.0, 2.0], "scales": [4]}
    for anchors in cls(**settings).base_anchors:
        torch.testing.assert_close(anchors, anchors.round())


def test_legacy_anchors_count_their_last_pixel():
    (anchors,) = LegacyAnchorGenerator(strides=[8], ratios=[1.0], scales=[4], center_offset=0.5).base_anchors
    assert sizes(anchors).tolist() == [[31.0, 31.0]]


def test_yolo_anchors_lie_around_the_cells_center():
    generator = YOLOAnchorGenerator(strides=[32], base_sizes=[[[116, 90], [10, 20]]])
    assert generator.base_anchors[0].tolist() == [[16 - 58, 16 - 45, 16 + 58, 16 + 45], [11, 6, 21, 26]]
    assert generator.grid_priors([(2, 3)])[0].shape == (12, 4)


def test_strides_need_not_be_whole():
    generator = AnchorGenerator(strides=[7.5], ratios=[1.0], scales=[1])
    assert generator.grid_priors([(1, 2)])[0][1].tolist() == [7.5 - 3.75, -3.75, 7.5 + 3.75, 3.75]


def test_whole_pixel_points_are_as_far_apart_as_the_input_has_room_for():
    fine, coarse = WholePixelPointGenerator([8, 64]).grid_priors([(100, 168), (13, 21)])
    assert fine[-1].tolist() == [167 * 8, 99 * 8, 8, 8]
    assert coarse[-1].tolist() == [20 * 64, 12 * 61, 64, 64]  # 1344 / 21 and 800 / 13 pixels, rounded down
