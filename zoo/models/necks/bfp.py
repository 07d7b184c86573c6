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
        mean = torch.stack([self.resized(x, size, i < self.refine_level) for i, x in enumerate(inputs)]).mean(dim=0)
        mean = self.refine(mean)
        return tuple(x + self.resized(mean, x.shape[2:], i >= self.refine_level) for i, x in enumerate(inputs))

    def resized(self, x: Tensor, size: Sequence[int], shrinks: bool) -> Tensor:
        """`x` at another resolution: the maximum where it shrinks, the nearest cell where it grows."""
        return F.adaptive_max_pool2d(x, list(size)) if shrinks else F.interpolate(x, size=list(size), mode="nearest")
