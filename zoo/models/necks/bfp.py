"""Balanced feature pyramid (Pang et al., Libra R-CNN, 2019, section 3.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.non_local import NonLocal2d


class BFP(nn.Module):
    """All levels, averaged at the resolution of one and refined, are added to each of them.

    refine_level: the one that gives the resolution. refine_type: "conv", "non_local" or None.
    """

    def __init__(
        self,
        in_channels: int,
        num_levels: int,
        refine_level: int = 2,
        refine_type: str | None = None,
        conv_cfg: Mapping[str, Any] | None = None,
        norm_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_levels, self.refine_level = num_levels, refine_level
        common: dict[str, Any] = {"conv_cfg": conv_cfg, "norm_cfg": norm_cfg}
        if refine_type == "conv":
            self.refine: nn.Module = ConvModule(in_channels, in_channels, 3, padding=1, **common)
        elif refine_type == "non_local":
            self.refine = NonLocal2d(in_channels, reduction=1, use_scale=False, **common)
        elif refine_type is None:
            self.refine = nn.Identity()
        else:
            raise BuildError(f"BFP refines by conv, non_local or not at all, not by '{refine_type}'")

    def forward(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """`num_levels` maps (N, C, H_i, W_i), finest first, to as many of the same sizes."""
        size = inputs[self.refine_level].shape[2:]
        steps = [i - self.refine_level for i in range(len(inputs))]
        mean = torch.stack([self.resized(x, size, -step) for x, step in zip(inputs, steps)]).mean(dim=0)
        mean = self.refine(mean)
        return tuple(x + self.resized(mean, x.shape[2:], step) for x, step in zip(inputs, steps))

    def resized(self, x: Tensor, size: Sequence[int], steps: int) -> Tensor:
        """`x` at another resolution (h, w): the maximum where it shrinks, the nearest cell where it grows.

        steps: so often it is halved; negative where it is doubled.
        """
        if steps <= 0:
            return F.interpolate(x, size=list(size), mode="nearest")
        if not torch.jit.is_tracing():
            return F.adaptive_max_pool2d(x, list(size))
        for dim, cells in ((2, size[0]), (3, size[1])):
            x = highest(x, dim, cells, 2**steps + 1)
        return x


def highest(x: Tensor, dim: int, cells: int, longest: int) -> Tensor:
    """Adaptive max pooling along one dimension, as steps that ONNX has. longest: bound of a window's length."""
    size, cell = x.shape[dim], torch.arange(cells, device=x.device)[:, None]
    start, end = cell * size // cells, ((cell + 1) * size + cells - 1) // cells
    index = torch.minimum(start + torch.arange(longest, device=x.device), end - 1)
    best = [x.index_select(dim, part) for part in index.unbind(1)]
    return torch.stack(best).amax(dim=0)
