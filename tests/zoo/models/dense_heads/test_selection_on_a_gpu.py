"""On a GPU candidates are counted for all levels at once, and are the same."""

from __future__ import annotations

import pytest
import torch

from benchmarks.perf.pretended_device import PretendCuda
from zoo.models.dense_heads.selection import Level, select


@pytest.mark.parametrize("threshold", [-1.0, 0.5, 0.9, 2.0])
@pytest.mark.parametrize("quality", [True, False])
def test_candidates_are_those_of_a_cpu_and_counted_once(threshold: float, quality: bool) -> None:
    torch.manual_seed(0)
    sizes = (40, 0, 9)
    levels = [
        Level(torch.rand(n, 3), torch.rand(n, 4), torch.rand(n, 2), torch.rand(n) if quality else None) for n in sizes
    ]
    cfg = {"score_thr": threshold, "nms_pre": 10}
    want = select(levels, cfg)
    with PretendCuda() as gpu:
        moved = [Level(*(x if x is None else x.to("cuda") for x in vars(level).values())) for level in levels]
        gpu.clear()
        have = select(moved, cfg)
        assert dict(gpu.kinds) == {"tolist": 1}
        assert all(torch.equal(a.cpu(), b) for a, b in zip(have, want, strict=True))
