"""The special paths of a CPU compute what the ordinary ones do."""

from __future__ import annotations

import pytest
import torch

from benchmarks.perf import cpu_paths


@pytest.mark.parametrize("name", [name for name in cpu_paths.PATHS if name != "NMS by groups"])
@torch.inference_mode()
def test_a_special_path_gives_what_the_ordinary_one_gives(name: str) -> None:
    torch.manual_seed(0)
    ways = [way() for way in cpu_paths.PATHS[name]()]
    special, ordinary = ([way] if isinstance(way, torch.Tensor) else way for way in ways)
    assert len(special) == len(ordinary) > 0
    assert all(torch.allclose(a.float(), b.float(), atol=2e-3) for a, b in zip(special, ordinary))


@torch.inference_mode()
def test_the_boxes_that_survive_are_the_same_by_groups_and_at_once() -> None:
    torch.manual_seed(0)
    boxes, scores = cpu_paths.scene(4000)
    special, ordinary = (way() for way in cpu_paths.grouped())
    order = scores.sort(descending=True).indices
    assert len(special) == len(ordinary) and torch.equal(order[special], ordinary) and len(boxes) == 4000


def test_a_row_has_times_of_both_ways_and_their_ratio() -> None:
    (row,) = cpu_paths.measure_all("selection", rounds=3, threads=1)
    assert row["from"] <= row["ratio"] <= row["to"] and row["special, ms"] > 0 and row["ATen"]
