"""Instances and stuff in one panoptic map."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo.models.segmentation.heuristic_fusion import HeuristicFusionHead


def head(**cfg: float) -> HeuristicFusionHead:
    """Two classes of things, three of stuff."""
    return HeuristicFusionHead(2, 3, {"mask_overlap": 0.5, "stuff_area_limit": 0, **cfg})


def stuff(label: int, size: tuple[int, int] = (4, 6)) -> Tensor:
    """Logits of an image full of one class of stuff (3: things)."""
    return torch.nn.functional.one_hot(torch.full(size, label), 4).permute(2, 0, 1).float()


def mask(left: int, right: int) -> Tensor:
    """A mask of some columns."""
    out = torch.zeros(4, 6, dtype=torch.bool)
    out[:, left:right] = True
    return out


def test_the_better_instance_keeps_its_pixels() -> None:
    masks, labels = torch.stack([mask(0, 3), mask(2, 6)]), torch.tensor([1, 0])
    ids = head()(masks, labels, stuff(0))
    assert ids[0].tolist() == [1001, 1001, 1001, 2000, 2000, 2000]


def test_a_mostly_covered_instance_is_dropped_and_takes_no_number() -> None:
    masks, labels = torch.stack([mask(0, 3), mask(0, 4), mask(4, 5)]), torch.tensor([1, 0, 0])
    ids = head()(masks, labels, stuff(2))
    assert ids[0].tolist() == [1001, 1001, 1001, 4, 2000, 4]


def test_small_stuff_and_unexplained_things_are_void() -> None:
    small = stuff(0)
    small[:, 0, 0] = stuff(1)[:, 0, 0]
    assert head(stuff_area_limit=2)(torch.zeros(0, 4, 6, dtype=torch.bool), torch.zeros(0).long(), small)[0, 0] == 5
    assert (head()(torch.zeros(0, 4, 6, dtype=torch.bool), torch.zeros(0).long(), stuff(3)) == 5).all()


def test_an_instance_below_the_threshold_of_the_map_leaves_its_pixels_to_others() -> None:
    masks, labels = torch.stack([mask(0, 3), mask(1, 4)]), torch.tensor([1, 0])
    ids = head(instance_score_thr=0.5)(masks, labels, stuff(0), torch.tensor([0.6, 0.4]))
    assert ids[0].tolist() == [1001, 1001, 1001, 2, 2, 2]
