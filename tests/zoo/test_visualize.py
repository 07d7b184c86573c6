"""Drawings show what was found, where it was found."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from zoo import visualize
from zoo.errors import ZooError
from zoo.structures import Detections

GREY = np.full((100, 120, 3), 128, np.uint8)


def detections(masks: bool = False) -> Detections:
    boxes = torch.tensor([[40.0, 30, 80, 70], [5, 5, 20, 20]])
    covered = torch.zeros((2, 100, 120), dtype=torch.bool)
    covered[0, 35:65, 45:75] = True
    return Detections(boxes, torch.tensor([0.9, 0.2]), torch.tensor([0, 1]), covered if masks else None)


def changed(drawn: np.ndarray) -> np.ndarray:
    return (drawn != GREY).any(2)


def test_the_picture_itself_stays_as_it_is() -> None:
    picture = GREY.copy()
    visualize.draw(picture, detections(masks=True))
    assert (picture == GREY).all()


def test_boxes_below_the_threshold_are_left_out() -> None:
    drawn = changed(visualize.draw(GREY, detections(), ["cat", "dog"], score_thr=0.3))
    assert drawn[30:71, 40].all()
    assert not drawn[10:20, 5].any()
    assert changed(visualize.draw(GREY, detections(), score_thr=0.1))[10:20, 5].all()


def test_masks_are_tinted_and_what_lies_beneath_shows_through() -> None:
    drawn = visualize.draw(GREY, detections(masks=True))
    expected = (128 * 0.5 + np.array(visualize.colour(0)) * 0.5).astype(np.uint8)
    assert (drawn[50, 60] == expected).all()
    assert not changed(drawn)[75:, 90:].any()


def test_panoptic_maps_take_the_place_of_boxes_and_void_stays() -> None:
    found = detections()
    found.panoptic = torch.full((100, 120), 2)
    found.panoptic[:50] = 1
    found.panoptic[60:90, 10:50] = 1000
    drawn = changed(visualize.draw(GREY, found, ["cat", "dog"]))
    assert drawn[2, 100]
    assert drawn[85, 12]
    assert not drawn[92:, 60:].any()


def test_boxes_outside_the_picture_and_no_boxes_at_all_are_no_error() -> None:
    outside = Detections(torch.tensor([[-50.0, -50, 500, 500]]), torch.ones(1), torch.tensor([7]))
    assert visualize.draw(GREY, outside).shape == GREY.shape
    assert not changed(visualize.draw(GREY, Detections.empty(torch.zeros(1)))).any()


def test_a_drawing_is_written_whole_and_an_unknown_format_is_a_sentence(tmp_path: Path) -> None:
    visualize.save(GREY, tmp_path / "a.png")
    assert (cv2.imread(str(tmp_path / "a.png")) == GREY).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with pytest.raises(ZooError, match="no way to write"):
        visualize.save(GREY, tmp_path / "a.xyz")
