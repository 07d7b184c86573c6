"""Folding batch norm into the convolution in front of it: the same function, fewer passes over memory.

In eval mode batch norm is an affine map per channel, so that its scale goes into the convolution's weight and its shift
into the bias (Jacob et al., Quantization and Training of Neural Networks, 2017, section 3.2).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from zoo.models.layers.fast_conv import FastConv2d


def fuse_conv_bn(model: nn.Module) -> int:
    """Fold every batch norm of `model` that directly follows a convolution, in place. Returns how many.

    A folded batch norm becomes an identity, so the state dict no longer has the published names. A convolution or batch
    norm that several places share keeps its parts apart, and so do convolutions that compute their weight (weight
    standardization) or sample elsewhere (deformable). On a CPU, residual blocks of a folded network may write over
    their input: copy what a hook shall keep. Raises ValueError in training mode, where statistics still move.
    """
    if model.training:
        raise ValueError("fuse_conv_bn: call model.eval() first; in training batch norm is not a fixed map")
    uses = Counter(id(module) for _, module in model.named_modules(remove_duplicate=False))
    count = 0
    for parent in list(model.modules()):
        for conv_name, norm_name in pairs(parent):
            conv, norm = parent.get_submodule(conv_name), parent.get_submodule(norm_name)
            if uses[id(conv)] == 1 and uses[id(norm)] == 1 and foldable(conv, norm):
                fold(conv, norm)
                setattr(parent, norm_name, nn.Identity())
                count += 1
    return count


def pairs(parent: nn.Module) -> Iterator[tuple[str, str]]:
    """(convolution, batch norm) by name: neighbors in a Sequential, else alike but for `conv` and `bn`."""
    names = [name for name, child in parent.named_children()]
    if isinstance(parent, nn.Sequential):
        yield from pairwise(names)
    elif follows(parent):
        yield from ((name, norm) for name in names if "conv" in name and (norm := name.replace("conv", "bn")) in names)


def follows(parent: nn.Module) -> bool:
    """False for a block that says it runs its batch norm elsewhere than right after the convolution."""
    order = list(getattr(parent, "order", ("conv", "norm")))
    return order.index("norm") == order.index("conv") + 1


def foldable(conv: nn.Module, norm: nn.Module) -> bool:
    """A plain convolution and a batch norm with fixed statistics over its output channels."""
    plain = type(conv) in (nn.Conv2d, FastConv2d)  # another subclass may compute its weight on the fly
    fixed = isinstance(norm, _BatchNorm) and norm.running_mean is not None
    return plain and fixed and conv.out_channels == norm.num_features


def fold(conv: nn.Module, norm: nn.Module) -> None:
    """Scale and shift `conv` as `norm` would."""
    statistics = (norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias)
    conv.weight, conv.bias = fuse_conv_bn_weights(conv.weight, conv.bias, *statistics)  # type: ignore[arg-type]
