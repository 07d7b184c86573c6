"""TridentNet's backbone (Li et al., Scale-Aware Trident Networks, 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from zoo.models.backbones.resnet import BLOCKS, ResNet, plan


class Branches(nn.Sequential):
    """A stage that every image passes once for each branch.

    count: branches in training. test_branch_idx: the only branch at test time, -1 for all of them.
    """

    def __init__(self, blocks: nn.Sequential, count: int, test_branch_idx: int) -> None:
        super().__init__(*blocks)
        self.count, self.test_branch_idx = count, test_branch_idx

    @property
    def active(self) -> int:
        """How many branches run."""
        return self.count if self.training or self.test_branch_idx < 0 else 1

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to (active * N, C', H', W'), all images of the first branch first."""
        return super().forward(x.repeat(self.active, 1, 1, 1))


class TridentResNet(ResNet):
    """ResNet whose last stage exists in `num_branch` branches, which share weights and differ in dilation.

    The other arguments are those of `ResNet`.
    """

    def __init__(
        self,
        depth: int,
        num_branch: int,
        test_branch_idx: int,
        trident_dilations: Sequence[int],
        num_stages: int = 3,
        base_channels: int = 64,
        **kwargs: Any,
    ) -> None:
        stages = plan(BLOCKS, depth, num_stages, base_channels)
        conv = {"type": "Trident", "trident_dilations": trident_dilations, "test_branch_idx": test_branch_idx}
        stages[-1] = replace(stages[-1], options={**stages[-1].options, "dcn": conv})
        super().__init__(depth, base_channels=base_channels, stages=stages, **kwargs)
        name = self.stage_names[-1]
        setattr(self, name, Branches(getattr(self, name), num_branch, test_branch_idx))

    @property
    def active_branches(self) -> int:
        """How many branches run, which is how often each image occurs in the output."""
        return getattr(self, self.stage_names[-1]).active
