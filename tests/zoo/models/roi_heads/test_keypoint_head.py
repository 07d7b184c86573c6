"""Keypoints are read from heatmaps at the resolution of their boxes."""

from __future__ import annotations

import torch

from zoo.models.roi_heads.keypoint_head import KeypointRCNNHead, decode_heatmaps
from zoo.structures import Detections, ImageGeometry


def peak(x: int, y: int, side: int = 56) -> torch.Tensor:
    """A heatmap (1, 1, side, side) with one smooth maximum in a cell."""
    grid = torch.arange(side, dtype=torch.float32)
    return -((grid[None] - x) ** 2 + (grid[:, None] - y) ** 2)[None, None] / 8


def test_a_maximum_is_read_at_the_center_of_its_cell() -> None:
    box = torch.tensor([[100.0, 50.0, 156.0, 106.0]])  # one pixel per cell
    (point,) = decode_heatmaps(peak(10, 40), box)[0]
    assert torch.equal(point[:2], torch.tensor([110.5, 90.5]))


def test_the_heatmap_is_resized_to_whole_pixels_and_the_point_scaled_back() -> None:
    box = torch.tensor([[0.0, 0.0, 111.5, 55.5]])  # 112 x 56 cells of 111.5 / 112 and 55.5 / 56 pixels
    (point,) = decode_heatmaps(peak(10, 40), box)[0]
    assert abs(point[0] - 21 * 111.5 / 112) < 0.51 and abs(point[1] - 40.5 * 55.5 / 56) < 1e-5


def test_a_probability_is_that_of_the_maximum_among_the_heatmaps_cells() -> None:
    heatmap, box = peak(10, 40), torch.tensor([[0.0, 0.0, 56.0, 56.0]])
    probability = decode_heatmaps(heatmap, box)[0, 0, 2]
    torch.testing.assert_close(probability, heatmap.flatten().softmax(0).max())
    assert decode_heatmaps(heatmap, box, "logit")[0, 0, 2] == heatmap.max()


def test_a_box_without_area_has_keypoints_all_the_same() -> None:
    points = decode_heatmaps(peak(10, 40), torch.tensor([[5.0, 5.0, 5.0, 5.0]]))
    assert torch.isfinite(points).all() and torch.equal(points[0, 0, :2], torch.tensor([5.5, 5.5]))


def test_no_detections_have_no_keypoints_of_the_right_shape() -> None:
    head = KeypointRCNNHead(num_keypoints=5, num_convs=1, in_channels=4, conv_out_channels=4)
    heatmaps = head(torch.zeros(0, 4, 14, 14))
    assert head.decode(heatmaps, torch.zeros(0, 4)).shape == (0, 5, 3)


def test_keypoints_move_to_output_coordinates_with_their_boxes() -> None:
    geometry = ImageGeometry(size=(100, 200), output_size=(50, 50), scale=(4.0, 2.0), offset=(8.0, 0.0))
    detections = Detections(torch.zeros(1, 4), torch.ones(1), torch.zeros(1).long())
    detections.keypoints = torch.tensor([[[28.0, 10.0, 0.7]]])
    assert torch.equal(detections.to_output(geometry).keypoints, torch.tensor([[[5.0, 5.0, 0.7]]]))


def test_selecting_detections_selects_their_keypoints() -> None:
    detections = Detections(torch.zeros(3, 4), torch.ones(3), torch.zeros(3).long())
    detections.keypoints = torch.arange(27.0).reshape(3, 3, 3)
    assert torch.equal(detections[1:].to("cpu").keypoints, detections.keypoints[1:])
