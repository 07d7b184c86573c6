"""Soft-NMS against its definition, box by box."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import box_iou

from zoo.errors import BuildError
from zoo.models.layers.nms import batched_nms
from zoo.models.layers.soft_nms import soft_nms


def scene(count: int = 60, groups: int = 5, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + 10 + torch.rand(count, 2, generator=generator) * 40], dim=1)
    labels = torch.randint(groups, (count,), generator=generator)
    return boxes, torch.rand(count, generator=generator), labels


def slow(boxes, scores, groups, iou_threshold, sigma, min_score, method):
    """(index, score) pairs by the algorithm's definition, group by group."""
    picked = []
    for group in groups.unique().tolist():
        left = {i: scores[i].item() for i in range(len(boxes)) if groups[i] == group}
        while left:
            best = max(left, key=left.__getitem__)
            score = left.pop(best)
            if score < min_score:
                continue
            picked.append((best, score))
            for i in left:
                iou = box_iou(boxes[best : best + 1], boxes[i : i + 1]).item()
                factors = {
                    "linear": 1 - iou if iou >= iou_threshold else 1.0,
                    "naive": 0.0 if iou >= iou_threshold else 1.0,
                    "gaussian": math.exp(-(iou**2) / sigma),
                }
                left[i] *= factors[method]
            left = {i: s for i, s in left.items() if s >= min_score}
    return sorted(picked, key=lambda pair: -pair[1])


@pytest.mark.parametrize("method", ["linear", "naive", "gaussian"])
def test_soft_nms_equals_its_definition(method):
    boxes, scores, groups = scene()
    settings = {"iou_threshold": 0.3, "sigma": 0.5, "min_score": 0.01, "method": method}
    keep, kept = soft_nms(boxes, scores, groups, **settings)
    expected = slow(boxes, scores, groups, **settings)
    assert keep.tolist() == [i for i, _ in expected]
    torch.testing.assert_close(kept, torch.tensor([s for _, s in expected]))


def test_soft_nms_is_a_kind_of_suppression_with_a_limit():
    boxes, scores, groups = scene()
    keep, kept = batched_nms(boxes, scores, groups, {"type": "soft_nms", "iou_threshold": 0.5, "max_num": 7})
    assert len(keep) == len(kept) == 7
    assert (kept.diff() <= 0).all()


def test_an_unknown_method_is_an_error():
    with pytest.raises(BuildError, match="no method 'cubic'"):
        soft_nms(*scene(), method="cubic")


def test_a_gpu_is_not_waited_for_at_every_step():
    from benchmarks.perf.pretended_device import PretendCuda

    boxes = torch.rand(60, 2).repeat(1, 2) * 50 + torch.tensor([0, 0, 20, 20])
    scores, groups = torch.rand(60), torch.arange(60) % 3
    want = soft_nms(boxes, scores, groups)
    with PretendCuda() as gpu:
        moved = [x.to("cuda") for x in (boxes, scores, groups)]
        gpu.clear()
        have = soft_nms(*moved)
        assert sum(gpu.waits.values()) <= 5, gpu.waits
        assert torch.equal(have[0].cpu(), want[0]) and torch.equal(have[1].cpu(), want[1])
