"""What most dense heads are made of: towers of 3x3 convolutions, shared by all levels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from zoo.models.layers.conv_module import ConvModule
from zoo.models.layers.conv_stack import run as run


def tower(
    in_channels: int,
    channels: int,
    depth: int,
    norm_cfg: Mapping[str, Any] | None = None,
    conv_cfg: Mapping[str, Any] | None = None,
    special: Mapping[int, Mapping[str, Any]] | None = None,
    **kwargs: Any,
) -> nn.ModuleList:
    """`depth` 3x3 convolutions that keep the resolution.

    special: other descriptions than `conv_cfg` for some of the convolutions, by index (deformable ones, say). Further
    arguments are those of `ConvModule`.
    """
    special = special or {}
    return nn.ModuleList(
        ConvModule(
            in_channels if i == 0 else channels,
            channels,
            3,
            padding=1,
            norm_cfg=norm_cfg,
            conv_cfg=special.get(i, conv_cfg),
            **kwargs,
        )
        for i in range(depth)
    )


def over_levels(forward_level: Callable[..., Sequence[Tensor]], *levels: Iterable[Any]) -> tuple[list[Tensor], ...]:
    """`forward_level` of every level, its outputs collected kind by kind: a list over levels for each."""
    return tuple(list(kind) for kind in zip(*map(forward_level, *levels)))


def prior_bias(probability: float = 0.01) -> float:
    """Logit at which a sigmoid says `probability`: rare objects must not drown the first iterations."""
    return -math.log((1 - probability) / probability)


def init_dense(head: nn.Module, *classifiers: nn.Conv2d, std: float = 0.01) -> None:
    """Small weights everywhere, and a bias in the classifiers that makes objects rare (Lin et al., 2017)."""
    for module in head.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.normal_(module.weight, std=std)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    for classifier in classifiers:
        nn.init.constant_(classifier.bias, prior_bias())  # type: ignore[arg-type]
