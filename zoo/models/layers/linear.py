"""Linear layers by their name in a description."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

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
