"""Losses of different devices are comparable only with the same random numbers."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.perf.pretended_device import PretendCuda
from benchmarks.system.random_numbers import SameRandomNumbers


def drawn(device: str) -> list[Tensor]:
    """One result of each way to draw."""
    torch.manual_seed(0)
    x = torch.ones(50, device=device)
    return [
        torch.rand(5, device=device),
        torch.randperm(20, device=device),
        torch.randn_like(x),
        torch.randint(0, 9, (7,), device=device),
        F.dropout(x, 0.5),
        torch.multinomial(x, 5),
        x.clone().uniform_(),
        torch.empty_like(x).bernoulli_(0.3),
    ]


def test_every_device_draws_what_the_cpu_draws() -> None:
    want = drawn("cpu")
    with SameRandomNumbers():
        assert all(torch.equal(a, b) for a, b in zip(drawn("cpu"), want))
    with PretendCuda(), SameRandomNumbers():
        have = drawn("cuda")
        assert all(x.device.type == "cuda" for x in have)
        assert all(torch.equal(a.cpu(), b) for a, b in zip(have, want))
