"""Boxes from the points of a grid."""

from __future__ import annotations

import torch

from zoo.models.roi_heads.grid import GridHead


def test_points_at_the_corners_of_the_region_give_the_region() -> None:
    head = GridHead(num_convs=1, in_channels=4, point_feat_channels=4, norm_cfg={"type": "GN", "num_groups": 9})
    boxes, half = torch.tensor([[10.0, 20, 66, 76]]), head.whole_map_size // 2
    logits = torch.full((1, 9, half, half), -10.0)
    for point, (left, top) in enumerate(head.sub_regions()):
        x, y = divmod(point, 3)
        # A region of 56 pixels is doubled onto a map of 56 cells: its sides are at 14, 28 and 42 cells.
        logits[0, point, 14 * (y + 1) - top, 14 * (x + 1) - left] = 10
    result = head.boxes(boxes, logits)
    torch.testing.assert_close(result, boxes, atol=1.01, rtol=0)


def test_no_regions_give_no_boxes() -> None:
    head = GridHead(num_convs=1, in_channels=4, point_feat_channels=4, norm_cfg={"type": "GN", "num_groups": 9})
    assert head.boxes(torch.zeros(0, 4), head(torch.zeros(0, 4, 14, 14))).shape == (0, 4)
