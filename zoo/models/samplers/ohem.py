"""Online hard example mining (Shrivastava et al., 2016)."""

from __future__ import annotations

from torch import Tensor

from zoo.models.samplers.random import Hardness, RandomSampler


class OHEMSampler(RandomSampler):
    """Like random sampling, but of too many candidates those with the highest classification loss are taken."""

    def pick(
        self, candidates: Tensor, count: int, boxes: Tensor, labels: Tensor | None, hardness: Hardness | None
    ) -> Tensor:
        """The `count` hardest of the candidates."""
        if len(candidates) <= count or hardness is None:
            return super().pick(candidates, count, boxes, labels, hardness)
        return candidates[hardness(boxes[candidates], labels).topk(count).indices]
