"""A fixed piece of work that tells how fast this machine is at the moment.

It is timed between the calls of a detector. The ratio of the two times stays the same when clocks fall or a neighbour
takes half of the processor, and changes when the detector does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, relu

SAMPLES = "calibration_s"
CPU_SAMPLES = "calibration_cpu_s"


class Calibration:
    """A few convolutions, element-wise steps and a sort: the mixture of arithmetic and memory traffic of a detector.

    A workload of one batch (see `benchmarks.workload.Workload`); some 10 to 30 milliseconds on a core of 2026.
    """

    batch = 1

    def __init__(self, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(0)
        self.image = torch.rand(1, 32, 96, 128, generator=generator).to(device)
        self.weight = (torch.rand(32, 32, 3, 3, generator=generator) / 288).to(device)

    def __len__(self) -> int:
        return 1

    def load(self, index: int) -> Tensor:
        """The input; the same for every index."""
        return self.image

    @torch.inference_mode()
    def compute(self, batch: Tensor) -> Tensor:
        """The work."""
        x = batch
        for _ in range(4):
            x = relu(conv2d(x, self.weight, padding=1)) + x
        return x.flatten().sort().values[:100].cpu()

    def evaluate(self, results: Tensor) -> Tensor:
        """Nothing to turn into rows."""
        return results
