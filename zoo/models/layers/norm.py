"""Normalization layers by their name in a description, with the names that checkpoints give them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.errors import BuildError
from zoo.models.layers.graph_norm import GroupNorm
from zoo.models.layers.memory_format import eager_on_cpu
from zoo.models.layers.tracing import in_graph


class LayerNorm2d(nn.LayerNorm):
    """Layer normalization over the channels of each pixel of (N, C, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        x = F.layer_norm(x.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalization that keeps no feature map that nothing needs.

    In inference on a CPU it may write its result over its input, as activations do: the same numbers, bit for bit.
    In training with fixed statistics and a fixed scale it is a multiplication and an addition, whose gradient needs no
    feature map; PyTorch's function would keep its input.

    inplace: nothing else needs the input. It is overwritten on a CPU only, where another feature map costs ten times
    as much as what is computed.
    """

    inplace = False

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        if self.training or self.running_mean is None:
            return super().forward(x)
        if self.inplace and eager_on_cpu(x):
            return overwritten(x, self)
        return scaled(x, self) if learns_around(self, x) else super().forward(x)


class FrozenBatchNorm2d(nn.Module):
    """Batch normalization whose scale and shift are no parameters: nothing of it is ever trained.

    As in `BatchNorm2d`, a gradient that passes through it needs no feature map.
    """

    inplace = False
    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        for name, value in (("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0 - eps)):
            self.register_buffer(name, torch.full((num_features,), value))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same."""
        if learns_around(self, x):
            return scaled(x, self)
        return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)


FixedNorm = BatchNorm2d | FrozenBatchNorm2d


def overwritten(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    """`x` (N, C, H, W), normalized with fixed statistics in its own memory."""
    state = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
    unused = {name: x.new_empty(0) for name in ("save_mean", "save_invstd")}
    result: Tensor = torch.ops.aten.native_batch_norm.out(x, *state, False, 0.0, norm.eps, out=x, **unused)[0]
    return result


def learns_around(norm: FixedNorm, x: Tensor) -> bool:
    """Whether gradients are recorded, in float32, and none of them is for `norm` itself."""
    if not torch.is_grad_enabled() or in_graph():
        return False
    plain = x.dtype == norm.weight.dtype and not torch.is_autocast_enabled(x.device.type)
    return plain and not (norm.weight.requires_grad or norm.bias.requires_grad)


def scaled(x: Tensor, norm: FixedNorm) -> Tensor:
    """`x` (N, C, H, W), normalized with fixed statistics by one factor and one summand for each channel."""
    factor = norm.weight * torch.rsqrt(norm.get_buffer("running_var") + norm.eps)
    summand = norm.bias - norm.get_buffer("running_mean") * factor
    factor, summand = factor[:, None, None], summand[:, None, None]
    if norm.inplace and x.device.type == "cpu":
        return x.mul_(factor).add_(summand)
    return torch.addcmul(summand, x, factor)


# PyTorch's batch norm refuses an epsilon of 0, up to 2.11 in inference as well. This one changes no variance by a bit.
TINY = torch.finfo(torch.float32).tiny


def positive(eps: float) -> float:
    """An epsilon of batch norm as PyTorch takes it, with the same results."""
    return max(eps, TINY)


# Type -> (attribute prefix, class). Synchronized statistics differ in training only, and `zoo train` converts there.
NORMS: dict[str, tuple[str, Callable[..., nn.Module]]] = {
    "BN": ("bn", BatchNorm2d),
    "BN2d": ("bn", BatchNorm2d),
    "BN1d": ("bn", nn.BatchNorm1d),
    "SyncBN": ("bn", BatchNorm2d),
    "MMSyncBN": ("bn", BatchNorm2d),
    "NaiveSyncBN": ("bn", BatchNorm2d),
    "FrozenBN": ("bn", FrozenBatchNorm2d),
    "GN": ("gn", GroupNorm),
    "LN": ("ln", nn.LayerNorm),
    "LN2d": ("norm_layer", LayerNorm2d),
    "IN": ("in", nn.InstanceNorm2d),
}


def make_norm(
    description: Mapping[str, Any], channels: int, postfix: int | str = "", inplace: bool = False
) -> tuple[str, nn.Module]:
    """(attribute name, layer) for `{type: BN, requires_grad: ..., **arguments}` over `channels`.

    The attribute is the type's prefix and `postfix`: `bn1`, `gn`. inplace: the layer may overwrite its input where it
    can. Raises BuildError for an unknown type.
    """
    arguments = dict(description)
    kind = arguments.pop("type")
    trainable = arguments.pop("requires_grad", True)
    if kind not in NORMS:
        raise BuildError(f"no normalization layer '{kind}'; known: {', '.join(NORMS)}")
    prefix, cls = NORMS[kind]
    if prefix == "bn" and "eps" in arguments:
        arguments["eps"] = positive(arguments["eps"])
    layer = cls(num_channels=channels, **arguments) if cls is GroupNorm else cls(channels, **arguments)
    layer.requires_grad_(trainable)
    if isinstance(layer, BatchNorm2d):
        layer.inplace = inplace
    return f"{prefix}{postfix}", layer
