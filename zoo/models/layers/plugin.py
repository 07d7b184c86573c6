"""Attention blocks that can stand behind a convolution of a residual block."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from torch import nn

from zoo.errors import BuildError

# Type -> (attribute name in checkpoints, "module:class").
PLUGINS: dict[str, tuple[str, str]] = {
    "ConvModule": ("conv_block", "zoo.models.layers.conv_module:ConvModule"),
    "ContextBlock": ("context_block", "zoo.models.layers.context_block:ContextBlock"),
    "GeneralizedAttention": (
        "gen_attention_block",
        "zoo.models.layers.generalized_attention:GeneralizedAttention",
    ),
    "NonLocal2d": ("nonlocal_block", "zoo.models.layers.non_local:NonLocal2d"),
}


def make_plugin(description: Mapping[str, Any], channels: int) -> tuple[str, nn.Module]:
    """(attribute name, layer) of the plugin `{type: ..., postfix: ..., **arguments}` over `channels`."""
    arguments = dict(description)
    kind, postfix = arguments.pop("type"), arguments.pop("postfix", "")
    if kind not in PLUGINS:
        raise BuildError(f"there is no plugin of type '{kind}'; known: {', '.join(PLUGINS) or 'none'}")
    name, home = PLUGINS[kind]
    return f"{name}{postfix}", resolve_name(home)(in_channels=channels, **arguments)
