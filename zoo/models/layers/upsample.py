"""Upsampling layers by their name in a description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from zoo.errors import BuildError
from zoo.models.layers.carafe import CARAFEPack


def make_upsample(description: Mapping[str, Any], in_channels: int, out_channels: int) -> nn.Module:
    """The layer `{type: deconv | nearest | bilinear | carafe, scale_factor: ...}`.

    Only "deconv" changes the number of channels. Raises BuildError for an unknown type.
    """
    arguments = dict(description)
    kind, factor = arguments.pop("type"), arguments.pop("scale_factor", 2)
    if kind == "deconv":
        return nn.ConvTranspose2d(in_channels, out_channels, kernel_size=factor, stride=factor, **arguments)
    if kind == "carafe":
        return CARAFEPack(in_channels, factor, **arguments)
    if kind in ("nearest", "bilinear"):
        align = None if kind == "nearest" else False
        return nn.Upsample(scale_factor=factor, mode=kind, align_corners=align)
    raise BuildError(f"there is no upsampling of type '{kind}'; known: deconv, nearest, bilinear, carafe")
