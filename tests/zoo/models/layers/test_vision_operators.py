"""torchvision's operators without `import torchvision`: the same results, and whoever needs the rest has it."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torchvision import ops

from zoo.models.box_ops import box_convert
from zoo.models.layers import vision_operators
from zoo.models.layers.stochastic_depth import StochasticDepth

CHECK = """
import sys, torch
from zoo.models.layers.vision_operators import nms
corners = torch.rand(300, 2) * 50
boxes, scores = torch.cat([corners, corners + 1 + torch.rand(300, 2) * 30], dim=1), torch.rand(300)
kept = nms(boxes, scores, 0.5)
assert 0 < len(kept) < 300 and "torchvision" not in sys.modules
from torchvision import ops
assert torch.equal(kept, ops.nms(boxes, scores, 0.5))
x = torch.rand(1, 2, 8, 8, requires_grad=True)
ops.roi_align(x, torch.tensor([[0.0, 1, 1, 5, 5]]), 2).sum().backward()
assert x.grad.sum() == 8
with torch.autocast("cpu"):
    assert torch.equal(kept, nms(boxes, scores, 0.5))
"""

RECORD = """
import sys, torch
from zoo.models.layers.vision_operators import nms
class Suppress(torch.nn.Module):
    def forward(self, boxes, scores):
        return nms(boxes, scores, 0.5)
boxes, scores = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [20, 20, 29, 29]]), torch.tensor([0.9, 0.8, 0.7])
assert "torchvision" not in sys.modules
recorded = torch.jit.trace(Suppress(), (boxes, scores)) if sys.argv[1] == "trace" else None
recorded = recorded or torch.export.export(Suppress(), (boxes, scores), strict=False).module()
assert recorded(boxes, scores).tolist() == [0, 2]
"""


@pytest.mark.parametrize("way", ["trace", "export"])
def test_a_recording_that_meets_suppression_first_records_it_alone(way: str) -> None:
    subprocess.run([sys.executable, "-c", RECORD, way], check=True, timeout=300)


def test_suppression_imports_no_compiler_and_leaves_torchvision_whole_for_who_imports_it_later() -> None:
    subprocess.run([sys.executable, "-c", CHECK], check=True, timeout=120)


def test_a_missing_library_means_the_ordinary_import(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vision_operators, "LIBRARIES", ("_nowhere",))
    monkeypatch.delitem(sys.modules, "torchvision")
    vision_operators.operators_are_loaded.cache_clear()
    assert not vision_operators.operators_are_loaded()
    vision_operators.operators_are_loaded.cache_clear()


@pytest.mark.parametrize("formats", [("xyxy", "cxcywh"), ("cxcywh", "xyxy"), ("xyxy", "xyxy")])
def test_boxes_are_converted_to_the_same_bits_as_by_torchvision(formats: tuple[str, str]) -> None:
    boxes = torch.rand(3, 20, 4)
    assert torch.equal(box_convert(boxes, *formats), ops.box_convert(boxes, *formats))


def test_stochastic_depth_draws_as_torchvision_does() -> None:
    x, ours, theirs = torch.rand(6, 3, 4), StochasticDepth(0.4), ops.StochasticDepth(0.4, "row")
    torch.manual_seed(3)
    wanted = theirs(x)
    torch.manual_seed(3)
    assert torch.equal(ours(x), wanted) and torch.equal(ours.eval()(x), x)
