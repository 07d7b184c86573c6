"""Searched receptive fields (Gao et al., RF-Next, 2022): dilations of a network's convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

MOST, STEP = 24, 0.5  # largest dilation of a branch; branches are this share of a dilation away from it


class BranchedConv(nn.Module):
    """One kernel at several dilations, summed with learned weights. State: `op_layer.*` and `branch_weights`."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.op_layer = conv
        self.branch_weights = nn.Parameter(torch.full((2,), 0.01))
        rates = [tuple(branch(d, k, sign) for d, k in zip(conv.dilation, conv.kernel_size)) for sign in (-1, 1)]
        self.rates = list(dict.fromkeys(rates))

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) to (N, out_channels, H', W')."""
        weights = self.branch_weights[: len(self.rates)].abs()
        weights = weights / weights.sum()
        return torch.stack([w * convolve(self.op_layer, x, rate) for w, rate in zip(weights, self.rates)]).sum(dim=0)


def branch(dilation: int, kernel_size: int, sign: int) -> int:
    """A branch's dilation along one axis; where there is nothing to dilate, the same."""
    if kernel_size % 2 == 0 or kernel_size == 1:
        return dilation
    return min(max(round((1 + sign * STEP) * dilation), 1), MOST)


def convolve(conv: nn.Conv2d, x: Tensor, dilation: Sequence[int]) -> Tensor:
    """`conv` at another dilation."""
    geometry = (conv.stride, padding(conv, dilation), tuple(dilation))
    return F.conv2d(x, conv.weight, conv.bias, *geometry, conv.groups)  # type: ignore[arg-type]


def padding(conv: nn.Conv2d, dilation: Sequence[int]) -> tuple[int, ...]:
    """The padding that goes with a dilation."""
    return tuple((s - 1 + d * (k - 1)) // 2 for k, s, d in zip(conv.kernel_size, conv.stride, dilation))


def dilate(model: nn.Module, dilations: Mapping[str, int], skip: Sequence[str] = (), branches: int = 1) -> None:
    """Give convolutions their searched receptive fields, in place.

    All convolutions with an odd kernel larger than 1 take part, but those whose name contains a text in `skip`.
    dilations: by name, 1 for those that are not there. branches: 2 splits each into dilations around the searched one.
    """
    for name, conv in list(model.named_modules()):
        if not isinstance(conv, nn.Conv2d) or any(text in name for text in skip):
            continue
        if not any(size > 1 and size % 2 for size in conv.kernel_size):
            continue
        conv.dilation = (dilations.get(name, 1),) * 2
        conv.padding = padding(conv, conv.dilation)  # type: ignore[assignment]
        if branches > 1:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, BranchedConv(conv))
