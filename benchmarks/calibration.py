"""A fixed piece of work that tells how fast this machine is at the moment.

It is timed between the calls of a detector. The ratio of the two times stays the same when clocks fall or a neighbour
takes half of the processor, and changes when the detector does. So it must suffer from neighbours as much as detectors
do: a few large convolutions hardly notice that others use the same caches (1.04 times as slow beside two busy processes
on two cores, where three detectors became 1.14 to 1.23 times as slow), many small operations do (1.20).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import batch_norm, conv2d, relu

SAMPLES = "calibration_s"
CPU_SAMPLES = "calibration_cpu_s"
ROUNDS, STRIDES, CHANNELS = 24, (1, 2, 4), 24


class Calibration:
    """Small convolutions at three scales, normalisation, element-wise steps and selection, as in a detector.

    A workload of one batch (see `benchmarks.workload.Workload`); some 5 to 20 milliseconds on a core of 2026.
    """

    batch = 1

    def __init__(self, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(1, CHANNELS, 32, 40, generator=generator).to(device)
        self.weight = (torch.rand(CHANNELS, CHANNELS, 3, 3, generator=generator) / (9 * CHANNELS)).to(device)
        self.point = (torch.rand(CHANNELS, CHANNELS, 1, 1, generator=generator) / CHANNELS).to(device)
        self.mean, self.variance = torch.zeros(CHANNELS, device=device), torch.ones(CHANNELS, device=device)

    def __len__(self) -> int:
        return 1

    def load(self, index: int) -> Tensor:
        """The input; the same for every index."""
        return self.image

    @torch.inference_mode()
    def compute(self, batch: Tensor) -> Tensor:
        """The work."""
        found = [self.level(batch[:, :, ::stride, ::stride]) for _ in range(ROUNDS) for stride in STRIDES]
        return torch.cat(found).cpu()

    def level(self, x: Tensor) -> Tensor:
        """One scale: a block of a network, and the best cells of each channel."""
        x = relu(batch_norm(conv2d(x, self.weight, padding=1), self.mean, self.variance))
        x = x + conv2d(x, self.point)
        return x.flatten(2).permute(0, 2, 1).sigmoid().topk(8, dim=1).values

    def evaluate(self, results: Tensor) -> Tensor:
        """Nothing to turn into rows."""
        return results
