"""COCO's person keypoints."""

from __future__ import annotations

from zoo.coco_format.keypoints import PERSON, SKELETON, mirrored_order


def test_left_and_right_change_places_in_a_mirror_image() -> None:
    order = mirrored_order(PERSON)
    assert order == [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    assert {frozenset(order[i] for i in pair) for pair in SKELETON} == {frozenset(pair) for pair in SKELETON}
