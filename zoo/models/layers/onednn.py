"""oneDNN's convolution with a sum and an activation behind it, in one pass over memory.

A map of 60 MB takes longer to allocate and to pass once more than a narrow 1x1 convolution takes to compute it. The
sum with a shortcut is made in the memory of the shortcut. The numbers are those of separate steps, bit for bit, on the
same kernels. PyTorch's operators for this are not public; `available` tries them.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

ACTIVATIONS: dict[type[nn.Module], str] = {nn.ReLU: "relu", nn.SiLU: "swish"}
"""What oneDNN calls the activations that it can compute with a convolution."""


def convolve(conv: nn.Conv2d, x: Tensor, activation: nn.Module | None = None, shortcut: Tensor | None = None) -> Tensor:
    """`activation(conv(x) + shortcut)` of float32 tensors, without gradients.

    x: (N, C, H, W), the channels of a cell together in memory, as in the result (N, K, H', W'). shortcut: a map like
    the result, which is written over it.
    """
    geometry = (conv.padding, conv.stride, conv.dilation, conv.groups)
    name = None if activation is None else ACTIVATIONS[type(activation)]
    if shortcut is None:
        return torch.ops.mkldnn._convolution_pointwise(x, conv.weight, conv.bias, *geometry, name or "none", [], "")
    in_place = torch.ops.mkldnn._convolution_pointwise_.binary
    return in_place(shortcut, x, conv.weight, conv.bias, *geometry, "add", 1.0, name, [], "")


def knows(activation: nn.Module | None, shortcut: Tensor | None) -> bool:
    """Whether `convolve` can compute an activation, which behind a sum is a ReLU or none."""
    return activation is None or type(activation) in ({*ACTIVATIONS} if shortcut is None else {nn.ReLU})


@lru_cache(maxsize=1)
def available() -> bool:
    """Whether this PyTorch has the operators and they do what they should, which small convolutions show."""
    if not has_onednn():
        return False
    with torch.device("cpu"), torch.random.fork_rng(devices=[]), torch.no_grad():
        conv, x = nn.Conv2d(8, 8, 1), torch.linspace(-2, 2, 32).view(1, 2, 2, 8).permute(0, 3, 1, 2)
        expected = torch.conv2d(x, conv.weight, conv.bias)
        try:
            results = [convolve(conv, x, activation()) for activation in ACTIVATIONS]
            totals = [convolve(conv, x, activation, x.clone()) for activation in (None, nn.ReLU())]
        except (AttributeError, RuntimeError, TypeError):
            return False
    wanted = [activation()(expected) for activation in ACTIVATIONS] + [expected + x, (expected + x).relu()]
    return all(torch.allclose(have, want, atol=1e-5) for have, want in zip([*results, *totals], wanted))


def has_onednn() -> bool:
    """Whether oneDNN computes convolutions, on a processor where it was measured: x86 with AVX2 or more."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability().startswith("AVX")
