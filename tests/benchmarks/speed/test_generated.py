"""Images in place of a dataset."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.speed.generated import PROPOSALS, Generated, proposals
from zoo.models.supervision import Supervision


def test_images_have_nothing_that_is_not_needed() -> None:
    image = Generated(("person",), Supervision())[0]
    assert image.masks is None and image.semantic is None and image.keypoints is None


def test_persons_have_visible_keypoints_in_their_boxes() -> None:
    image = Generated(("person",), Supervision(keypoints=0.5))[0]
    assert image.keypoints is not None and image.keypoints.points.shape == (len(image.boxes), 17, 3)
    assert image.keypoints.pixel_center == 0.5
    places = image.keypoints.points[..., :2]
    visible = image.keypoints.points[..., 2] > 0  # those beyond the border are unknown
    inside = (places >= image.boxes[:, None, :2] - 0.01) & (places <= image.boxes[:, None, 2:] + 0.01)
    assert visible.any() and inside[visible].all()


@pytest.mark.parametrize(("things", "classes"), [(80, 133), (80, 183), (8, 8)])
def test_pixels_have_an_objects_label_a_class_of_stuff_or_none(things: int, classes: int) -> None:
    image = Generated([str(i) for i in range(things)], Supervision(masks=True, semantic=classes))[0]
    assert image.semantic is not None and image.masks is not None
    assert image.semantic.shape == image.size and image.semantic.dtype == np.uint8
    known = np.unique(image.semantic[image.semantic != 255])
    assert known.max() < classes and (image.semantic == 255).any()
    last = image.semantic[image.masks[-1] == 1]  # nothing is in front of the last object
    assert (last == image.labels[-1]).all()
    behind = image.semantic[(image.masks == 0).all(axis=0)]
    assert (behind >= things).all() or things == classes


def test_half_of_the_proposals_overlap_an_object() -> None:
    image = Generated(("person",), Supervision())[0]
    boxes = proposals(image.boxes, image.size, 0)
    assert boxes.shape == (PROPOSALS, 4) and boxes.dtype == np.float32
    height, width = image.size
    assert (boxes >= 0).all() and (boxes <= [width, height, width, height]).all()
    assert (boxes[:, 2:] > boxes[:, :2]).all()
    corner = np.maximum(boxes[:, None, :2], image.boxes[None, :, :2])
    shared = np.minimum(boxes[:, None, 2:], image.boxes[None, :, 2:]) - corner
    overlaps = (shared > 0).all(axis=-1).any(axis=1)
    assert overlaps[: PROPOSALS // 2].all()
    assert proposals(image.boxes[:0], image.size, 0).shape == (PROPOSALS, 4)
