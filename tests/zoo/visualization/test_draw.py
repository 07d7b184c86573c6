"""Drawings show what was found, where it was found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from zoo.errors import ZooError
from zoo.structures import Detections
from zoo.visualization import draw, label_layout

GRAY = np.full((100, 120, 3), 128, np.uint8)


def detections(masks: bool = False) -> Detections:
    boxes = torch.tensor([[40.0, 30, 80, 70], [5, 5, 20, 20]])
    covered = torch.zeros((2, 100, 120), dtype=torch.bool)
    covered[0, 35:65, 45:75] = True
    return Detections(boxes, torch.tensor([0.9, 0.2]), torch.tensor([0, 1]), covered if masks else None)


def changed(drawn: np.ndarray) -> np.ndarray:
    return (drawn != GRAY).any(2)


def test_the_image_itself_stays_as_it_is() -> None:
    image = GRAY.copy()
    draw.draw(image, detections(masks=True))
    assert (image == GRAY).all()


def test_boxes_below_the_threshold_are_left_out() -> None:
    drawn = changed(draw.draw(GRAY, detections(), ["cat", "dog"], score_thr=0.3))
    assert drawn[30:71, 40].all()
    assert not drawn[10:20, 5].any()
    assert changed(draw.draw(GRAY, detections(), score_thr=0.1))[10:20, 5].all()


def test_masks_are_tinted_and_what_lies_beneath_shows_through() -> None:
    drawn = draw.draw(GRAY, detections(masks=True))
    expected = (128 * 0.5 + np.array(draw.color(0)) * 0.5).astype(np.uint8)
    assert (drawn[50, 60] == expected).all()
    assert not changed(drawn)[75:, 90:].any()


def test_panoptic_maps_take_the_place_of_boxes_and_void_stays() -> None:
    result = detections()
    result.panoptic = torch.full((100, 120), 2)
    result.panoptic[:50] = 1
    result.panoptic[60:90, 10:50] = 1000
    drawn = changed(draw.draw(GRAY, result, ["cat", "dog"]))
    assert drawn[2, 100]
    assert drawn[85, 12]
    assert not drawn[92:, 60:].any()


def test_boxes_outside_the_image_and_no_boxes_at_all_are_no_error() -> None:
    outside = Detections(torch.tensor([[-50.0, -50, 500, 500]]), torch.ones(1), torch.tensor([7]))
    assert draw.draw(GRAY, outside).shape == GRAY.shape
    assert not changed(draw.draw(GRAY, Detections.empty(torch.zeros(1)))).any()


def test_a_drawing_is_written_whole_and_an_unknown_format_is_a_sentence(tmp_path: Path) -> None:
    draw.save(GRAY, tmp_path / "a.png")
    assert (cv2.imread(str(tmp_path / "a.png")) == GRAY).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(ZooError, match="no way to write"):
        draw.save(GRAY, tmp_path / "a.xyz")


def test_labels_of_crowded_boxes_do_not_cover_each_other() -> None:
    positions = label_layout.LabelLayout((400, 400))
    boxes = [(100 + 7 * n, 100 + 5 * n, 160 + 7 * n, 150 + 5 * n) for n in range(12)]
    result = [positions.find(label_layout.around(box, 60, 14), 60, 14) for box in boxes]
    placed = [position for position in result if position is not None]
    assert result[0] == (100, 86, 160, 100) and len(placed) >= 8
    for number, position in enumerate(placed):
        assert 0 <= position[0] < position[2] <= 400 and 0 <= position[1] < position[3] <= 400
        covered = sum(label_layout.common(position, other) for other in placed[:number])
        assert covered <= label_layout.HIDDEN * 60 * 14


def test_a_label_stays_inside_of_the_image() -> None:
    positions = label_layout.LabelLayout((100, 100))
    assert positions.find([(90, -20)], 40, 10) == (60, 0, 100, 10)


def test_small_masks_are_drawn_over_large_ones() -> None:
    masks = torch.zeros((2, 100, 120), dtype=torch.bool)
    masks[0, 45:55, 55:65] = True
    masks[1] = True
    detections = Detections(torch.zeros(2, 4), torch.tensor([0.9, 0.8]), torch.tensor([0, 1]), masks)
    drawn = draw.draw(GRAY, detections)
    assert (drawn[50, 60] != drawn[50, 100]).any()
    beneath = 128 * 0.25 + np.array(draw.color(1, 1)) * 0.25
    assert np.abs(drawn[50, 60] - (beneath + np.array(draw.color(0)) * 0.5)).max() < 3


def test_instances_of_a_class_can_be_told_apart() -> None:
    assert len({draw.color(0, number) for number in range(7)}) == 7


def test_a_segment_is_named_where_it_is_widest() -> None:
    mask = np.zeros((60, 80), bool)
    mask[10:12, :60] = True
    mask[20:50, 30:60] = True
    x, y = draw.innermost(mask)
    assert 40 <= x <= 50 and 30 <= y <= 40


def test_keypoints_are_dots_and_a_persons_are_joined() -> None:
    result = detections()
    result.keypoints = torch.full((2, 17, 3), 55.0)
    result.keypoints[0, 5, :2], result.keypoints[0, 6, :2] = torch.tensor([60.0, 60]), torch.tensor([100.0, 60])
    drawn = changed(draw.draw(GRAY, result))
    assert drawn[60, 60] and drawn[60, 100] and drawn[60, 85]  # both shoulders and the line between them
    result.keypoints = result.keypoints[:, :16]
    drawn = changed(draw.draw(GRAY, result))
    assert drawn[60, 100] and not drawn[60, 92]
