"""Convolutions by their name in a description."""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from torch import nn

from zoo.errors import BuildError

CONVS = {
    "Conv": "zoo.models.layers.fast_conv:FastConv2d",
    "Conv2d": "zoo.models.layers.fast_conv:FastConv2d",
    "Conv1d": "torch.nn:Conv1d",
    "NormedConv2d": "zoo.models.layers.normed:NormedConv2d",
    "Conv2dSamePadding": "zoo.models.layers.same_padding:SamePaddingConv",
    "Conv2dAdaptivePadding": "zoo.models.layers.same_padding:SamePaddingConv",
    "ConvAWS": "zoo.models.layers.weight_standardization:ConvAWS",
    "ConvWS": "zoo.models.layers.weight_standardization:ConvWS",
    "deconv": "torch.nn:ConvTranspose2d",
    "DCN": "zoo.models.layers.deform_conv:DCN",
    "DCNv2": "zoo.models.layers.deform_conv:DCNv2",
    "SAC": "zoo.models.layers.switchable_atrous:SAC",
    "Trident": "zoo.models.layers.trident_conv:TridentConv",
}


def make_conv(description: Mapping[str, Any] | None, in_channels: int, out_channels: int, *args: Any, **kwargs: Any):
    """The convolution `{type: ..., **arguments}`, a plain `Conv2d` without a description.

    Further arguments are those of `torch.nn.Conv2d`. Raises BuildError for an unknown type.
    """
    arguments = dict(description or {"type": "Conv2d"})
    name = arguments.pop("type")
    if name not in CONVS:
        raise BuildError(f"no convolution '{name}'; known: {', '.join(CONVS)}")
    layer: nn.Module = resolve_name(CONVS[name])(in_channels, out_channels, *args, **kwargs, **arguments)
    return layer
