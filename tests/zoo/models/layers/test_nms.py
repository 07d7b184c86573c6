"""Suppression within groups."""

from __future__ import annotations

import pytest
import torch
from torchvision.ops import nms

from zoo.models.layers.nms import APART_FROM, FIRST, batched_nms, suppress

CFG = {"type": "nms", "iou_threshold": 0.5}


def scene(count: int, groups: int = 4):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(count, 2, generator=generator) * 100
    boxes = torch.cat([corner, corner + 5 + torch.rand(count, 2, generator=generator) * 30], dim=1)
    scores = (torch.randperm(count, generator=generator) + 1) / (count + 1)  # no two are equal
    return boxes, scores, torch.randint(groups, (count,), generator=generator)


@pytest.mark.parametrize("count", [50, FIRST + 904])
@pytest.mark.parametrize("limit", [-1, 20, 10_000])
def test_groups_do_not_suppress_each_other(count, limit):
    boxes, scores, groups = scene(count)
    expected = []
    for group in range(4):
        members = (groups == group).nonzero()[:, 0]
        expected += members[nms(boxes[members], scores[members], 0.5)].tolist()
    expected.sort(key=lambda i: -scores[i].item())
    keep, kept = batched_nms(boxes, scores, groups, CFG, limit)
    assert keep.tolist() == (expected if limit < 0 else expected[:limit])
    torch.testing.assert_close(kept, scores[keep])


def test_a_limit_that_the_best_boxes_do_not_reach_looks_at_all():
    """Thousands of copies of one box, and a worse one elsewhere."""
    boxes = torch.tensor([[0.0, 0.0, 10.0, 10.0]]).repeat(FIRST + 10, 1)
    boxes[-1] += 50
    scores = torch.linspace(1, 0.1, len(boxes))
    keep, _ = batched_nms(boxes, scores, torch.zeros(len(boxes), dtype=torch.long), CFG, 5)
    assert keep.tolist() == [0, len(boxes) - 1]


@pytest.mark.parametrize("count", [APART_FROM - 1, APART_FROM])
def test_many_classes_round_as_in_the_reference(count):
    """MMCV's rule: boxes moved by class in float32; from 10,000 boxes on class by class, else all at once."""
    boxes, scores, groups = scene(count, groups=1200)
    boxes -= 20  # some lie outside the picture, and inside the region of the class before
    moved = boxes + (groups.float() * (boxes.max() + 1))[:, None]
    parts = [(groups == g).nonzero()[:, 0] for g in groups.unique()] if count >= APART_FROM else [torch.arange(count)]
    expected = torch.cat([part[nms(moved[part], scores[part], 0.5)] for part in parts])
    keep, _ = batched_nms(boxes, scores, groups, CFG)
    assert keep.tolist() == expected[scores[expected].sort(descending=True).indices].tolist()


def test_without_suppression_boxes_are_ranked_and_limited():
    boxes, scores, groups = scene(30)
    found = suppress(boxes, scores, groups, None, 10)
    torch.testing.assert_close(found.scores, scores.sort(descending=True).values[:10])
