"""What this machine can do at most, measured now: operations per second by kind of layer, and bytes per second."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F

from benchmarks.system.timing import Stopwatch

ROUNDS = 5
LARGE, SMALL = 1 << 26, 1 << 18
"""Numbers (float32) of a tensor that no cache holds, and of one that any does."""

CACHED_BYTES = 4 << 20
"""Work on no more bytes than this is taken to stay in a cache."""


@dataclass(frozen=True)
class Peaks:
    """Operations per second (a multiply-add is two) of convolutions, depthwise convolutions and matrix products.

    memory, cache: bytes per second, read and written, of tensors that no cache holds and of small ones.
    """

    convolution: float
    depthwise: float
    product: float
    memory: float
    cache: float

    def seconds(self, kind: str | None, flops: float, size: float) -> float:
        """The least time for so many operations of a kind (None: none that count) on so many bytes."""
        computing = flops / getattr(self, kind) if kind else 0.0
        return max(computing, size / (self.cache if size <= CACHED_BYTES else self.memory))

    def to_dict(self) -> dict[str, float]:
        """For a record."""
        return asdict(self)


@torch.inference_mode()
def measure(device: torch.device | str = "cpu") -> Peaks:
    """The best of several shapes and rounds with the threads and instructions that this process has."""
    device = torch.device(device)
    return Peaks(
        convolution=max(rate(*dense(device, *shape), device) for shape in DENSE),
        depthwise=rate(*depthwise(device), device),
        product=max(rate(*product(device, size), device) for size in (512, 2048)),
        memory=rate(*copy(device, LARGE), device),
        cache=rate(*copy(device, SMALL), device),
    )


# Channels in and out, kernel, and (h, w) of convolutions as detectors have them.
DENSE = ((256, 256, 3, (100, 136)), (64, 64, 3, (200, 272)), (512, 512, 3, (50, 68)), (256, 1024, 1, (50, 68)))


def rate(work: Callable[[], Any], amount: float, device: torch.device) -> float:
    """Amount per second, in the fastest of several calls."""
    watch = Stopwatch(device)
    watch.time(work)
    return amount / min(watch.time(work)[1].seconds for _ in range(ROUNDS))


def dense(
    device: torch.device, channels: int, filters: int, side: int, size: tuple[int, int]
) -> tuple[Callable[[], Any], float]:
    """A convolution with the channels of a pixel together, and its operations."""
    x = torch.rand(1, channels, *size, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(filters, channels, side, side, device=device).contiguous(memory_format=torch.channels_last)
    return lambda: F.conv2d(x, weight, padding=side // 2), 2.0 * channels * filters * side * side * size[0] * size[1]


def depthwise(device: torch.device) -> tuple[Callable[[], Any], float]:
    """A 3x3 convolution of each channel alone, and its operations."""
    x = torch.rand(1, 256, 100, 136, device=device).contiguous(memory_format=torch.channels_last)
    weight = torch.rand(256, 1, 3, 3, device=device)
    return lambda: F.conv2d(x, weight, padding=1, groups=256), 2.0 * 9 * x.numel()


def product(device: torch.device, size: int) -> tuple[Callable[[], Any], float]:
    """A product of square matrices, and its operations."""
    a, b = torch.rand(size, size, device=device), torch.rand(size, size, device=device)
    return lambda: a @ b, 2.0 * size**3


def copy(device: torch.device, count: int) -> tuple[Callable[[], Any], float]:
    """Copies of a tensor, and the bytes read and written."""
    source = torch.rand(count, device=device)
    target, times = torch.empty_like(source), max(1, LARGE // count // 8)

    def work() -> None:
        for _ in range(times):
            target.copy_(source)

    return work, 8.0 * count * times
