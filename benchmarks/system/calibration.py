"""A fixed piece of work that tells how fast this machine is at the moment.

It is timed between the calls of a detector. The ratio of the two times stays the same when clocks fall or a neighbor
takes half of the processor, and changes when the detector does. So it must suffer from neighbors as much as detectors
do, and they suffer from cold caches: it is a network of many different layers, called as modules, and NMS. (A few
convolutions in a loop stay in the cache: beside four busy processes on two cores they became 1.07 times as slow, this
1.10 times, RetinaNet R50 1.11 times.)
"""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.models import mobilenet_v3_small
from torchvision.ops import nms

ROUNDS, SIZE, BOXES = 3, (128, 160), 300


class Calibration:
    """The layers of torchvision's MobileNetV3 (Howard et al., 2019) on one small image, and NMS of fixed boxes.

    A workload of one batch (see `benchmarks.workload.Workload`); some 10 milliseconds on a core of 2026.
    """

    batch = 1

    def __init__(self, device: torch.device) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = mobilenet_v3_small(weights=None).features.eval().to(device)
            self.image = torch.rand(1, 3, *SIZE).to(device)
            corners, self.scores = torch.rand(BOXES, 2) * 100, torch.rand(BOXES).to(device)
            self.boxes = torch.cat([corners, corners + torch.rand(BOXES, 2) * 100], dim=1).to(device)

    def __len__(self) -> int:
        return 1

    def load(self, index: int) -> Tensor:
        """The input; the same for every index."""
        return self.image

    @torch.inference_mode()
    def compute(self, batch: Tensor) -> Tensor:
        """The work: how many boxes are left, after the layers' mean."""
        result = [self.layers(batch).mean() + len(nms(self.boxes, self.scores, 0.5)) for _ in range(ROUNDS)]
        return torch.stack(result).cpu()

    def evaluate(self, results: Tensor) -> Tensor:
        """Nothing to turn into rows."""
        return results
