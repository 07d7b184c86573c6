"""Normalisation layers by their name in a description, with the names that checkpoints give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of each pixel of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


# Type -> (attribute prefix, class). Synchronised statistics differ in training only, and `zoo train` converts there.
NORMS: dict[str, tuple[str, Callable[..., nn.Module]]] = {
    "BN": ("bn", nn.BatchNorm2d),
    "BN2d": ("bn", nn.BatchNorm2d),
    "BN1d": ("bn", nn.BatchNorm1d),
    "SyncBN": ("bn", nn.BatchNorm2d),
    "MMSyncBN": ("bn", nn.BatchNorm2d),
    "NaiveSyncBN": ("bn", nn.BatchNorm2d),
    "GN": ("gn", nn.GroupNorm),
    "LN": ("ln", nn.LayerNorm),
    "LN2d": ("ln", LayerNorm2d),
    "IN": ("in", nn.InstanceNorm2d),
}


def make_norm(description: Mapping[str, Any], channels: int, postfix: int | str = "") -> tuple[str, nn.Module]:
    """(attribute name, layer) for `{type: BN, requires_grad: ..., **arguments}` over `channels`.

    The attribute is the type's prefix and `postfix`: `bn1`, `gn`. Raises BuildError for an unknown type.
    """
    arguments = dict(description)
    kind = arguments.pop("type")
    trainable = arguments.pop("requires_grad", True)
    if kind not in NORMS:
        raise BuildError(f"no normalisation layer '{kind}'; known: {', '.join(NORMS)}")
    prefix, cls = NORMS[kind]
    layer = cls(num_channels=channels, **arguments) if cls is nn.GroupNorm else cls(channels, **arguments)
    layer.requires_grad_(trainable)
    return f"{prefix}{postfix}", layer
