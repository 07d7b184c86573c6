"""Assignment by overlap: which object a prior of low quality learns."""

from __future__ import annotations

import torch

from zoo.models.assigners.max_iou import MaxIoUAssigner
from zoo.models.targets import BACKGROUND, GroundTruth

# A prior that is the best of a small object, but overlaps a large one more; no prior reaches 0.5 with either.
PRIOR = torch.tensor([[0.0, 0.0, 10.0, 10.0], [90.0, 90.0, 99.0, 99.0]])
SMALL, LARGE = [8.0, 8.0, 12.0, 12.0], [0.0, 0.0, 10.0, 25.0]


def owner(keeps_owner: bool) -> list[int]:
    """The object of each prior. objects: the large one, then the small one."""
    assigner = MaxIoUAssigner(0.5, 0.4, keeps_owner=keeps_owner)
    objects = GroundTruth(torch.tensor([LARGE, SMALL]), torch.tensor([0, 1]))
    return assigner.assign(PRIOR, objects).index.tolist()


def test_a_prior_of_low_quality_learns_the_object_whose_best_it_is_as_in_mmdetection() -> None:
    assert owner(keeps_owner=False) == [1, BACKGROUND]


def test_a_prior_of_low_quality_learns_the_object_that_it_overlaps_most_as_in_detectron2() -> None:
    assert owner(keeps_owner=True) == [0, BACKGROUND]
