"""Every coder decodes what it encoded."""

from __future__ import annotations

import pytest
import torch

from zoo.models.coders.distance import DistancePointCoder
from zoo.models.coders.legacy_delta import LegacyDeltaXYWHCoder
from zoo.models.coders.tblr import TBLRCoder
from zoo.models.coders.yolo import YOLOCoder

PRIORS = torch.tensor([[10.0, 20.0, 50.0, 60.0], [0.0, 0.0, 32.0, 16.0]])
BOXES = torch.tensor([[12.0, 18.0, 60.0, 58.0], [1.0, 2.0, 30.0, 17.0]])


@pytest.mark.parametrize("coder", [TBLRCoder(4.0), TBLRCoder([1.0, 2.0, 3.0, 4.0])])
def test_boxes_survive(coder):
    torch.testing.assert_close(coder.decode(PRIORS, coder.encode(PRIORS, BOXES)), BOXES)


def test_legacy_boxes_come_back_half_a_pixel_larger():
    coder = LegacyDeltaXYWHCoder(target_stds=[0.1, 0.1, 0.2, 0.2])
    expected = BOXES + torch.tensor([-0.5, -0.5, 0.5, 0.5])
    torch.testing.assert_close(coder.decode(PRIORS, coder.encode(PRIORS, BOXES)), expected)


def test_distances_are_measured_from_points():
    points = torch.tensor([[20.0, 30.0, 8.0, 8.0], [5.0, 5.0, 8.0, 8.0]])
    distances = DistancePointCoder().encode(points, BOXES)
    assert distances[0].tolist() == [8.0, 12.0, 40.0, 28.0]
    torch.testing.assert_close(DistancePointCoder().decode(points, distances), BOXES)


def test_yolo_boxes_survive_where_the_center_is_in_the_cell():
    boxes = torch.cat([PRIORS[:, :2] + 3, PRIORS[:, 2:] + 5], dim=1)
    targets = YOLOCoder().encode(PRIORS, boxes, 32.0)
    torch.testing.assert_close(YOLOCoder().decode(PRIORS, targets, 32.0), boxes)


def test_decoded_boxes_are_clipped_to_the_image():
    far = torch.full((2, 4), 100.0)
    assert DistancePointCoder().decode(PRIORS, far, size=(40, 70)).tolist() == [[0.0, 0.0, 70.0, 40.0]] * 2
    assert TBLRCoder(4.0).decode(PRIORS, far, size=(40, 70)).tolist() == [[0.0, 0.0, 70.0, 40.0]] * 2
    limits = LegacyDeltaXYWHCoder().decode(PRIORS, torch.full((2, 4), 3.0), size=(40, 70))
    assert limits[:, 2:].tolist() == [[69.0, 39.0]] * 2
