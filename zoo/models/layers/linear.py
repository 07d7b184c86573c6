"""Linear layers: by their name in a description, and in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.normed import NormedLinear

LINEARS: dict[str, Callable[..., nn.Module]] = {"Linear": nn.Linear, "NormedLinear": NormedLinear}


def make_linear(description: Mapping[str, Any] | None, in_features: int, out_features: int) -> Any:
    """The linear layer `{type: ..., **arguments}`, a plain one without a description."""
    arguments = dict(description or {"type": "Linear"})
    kind = arguments.pop("type")
    if kind not in LINEARS:
        raise BuildError(f"there is no linear layer of type '{kind}'; known: {', '.join(LINEARS)}")
    return LINEARS[kind](in_features, out_features, **arguments)


def fc_stack(depth: int, channels: int, out_channels: int) -> tuple[nn.ModuleList, int]:
    """`depth` linear layers with Xavier weights, and the channels behind them."""
    layers = nn.ModuleList(nn.Linear(channels if i == 0 else out_channels, out_channels) for i in range(depth))
    for layer in layers:
        nn.init.xavier_uniform_(layer.weight)  # type: ignore[arg-type]
    return layers, out_channels if depth else channels


def run_fcs(layers: nn.ModuleList, x: Tensor) -> Tensor:
    """Linear layers with ReLU on (..., D), or on maps (M, C, h, w) as (M, C * h * w)."""
    for layer in layers:
        x = F.relu(linear(layer, x), inplace=True)
    return x


def linear(layer: nn.Module, x: Tensor) -> Tensor:
    """A linear layer on (..., D), or on maps (M, C, h, w) as (M, C * h * w).

    Always a matrix product. A convolution over the whole map would save copying maps whose channels lie together, but
    takes ten times as long on a processor without AVX-512 (`python -m benchmarks.perf.cpu_paths`), and to choose by the
    number of threads would make results depend on it.
    """
    return layer(x) if x.dim() != 4 else layer(x.flatten(1))
