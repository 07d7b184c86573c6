"""What 1x1 convolutions predict of a 3x3 convolution's map, without that map in memory.

A region proposal network convolves the whole pyramid, and all that is read of it is 15 numbers a cell. In inference on
a CPU its largest map, 62 MB for an image of 800 x 1216, costs more to allocate, to write and to read than the
predictions themselves. Where the convolution is computed by tiles (see `winograd`), they are made of each tile instead.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.layers.cpu_choices import LARGE_MAP
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.memory_format import eager_on_cpu
from zoo.models.layers.packed_filters import packed
from zoo.models.layers.winograd import convolve
from zoo.models.layers.winograd_choice import saves_by_tiles


def predicted_in_passing(
    conv: nn.Module, activation: nn.Module, predictions: Sequence[nn.Conv2d], x: Tensor
) -> list[Tensor] | None:
    """`prediction(activation(conv(x)))` for each prediction, (N, C, H, W) to (N, C', H, W) each.

    activation: of single numbers. None where the map between them is needed: for gradients, in graphs, by a hook of one
    of these modules, or because the convolution is computed otherwise.
    """
    if not isinstance(conv, FastConv2d) or not eager_on_cpu(x) or not takes_passing(conv, predictions, x):
        return None
    if any(map(is_watched, (conv, activation, *predictions))):
        return None
    weight = torch.cat([prediction.weight.flatten(1) for prediction in predictions])
    bias = torch.cat([prediction.bias for prediction in predictions if prediction.bias is not None])
    result = convolve(
        x, packed(conv.weight), conv.bias, lambda cells: F.linear(activation(cells), weight, bias), len(weight)
    )
    parts = result.split([prediction.out_channels for prediction in predictions], dim=1)
    return [part.contiguous(memory_format=torch.channels_last) for part in parts]


def takes_passing(conv: FastConv2d, predictions: Sequence[nn.Conv2d], x: Tensor) -> bool:
    """Whether a large map is computed by tiles, and what follows are plain 1x1 convolutions in float32."""
    large = x[:, 0].numel() * conv.out_channels * x.element_size() >= LARGE_MAP
    usual = type(conv) is FastConv2d and not conv.steady and large
    return usual and all(map(is_pointwise, predictions)) and saves_by_tiles(conv, x)


def is_pointwise(layer: nn.Module) -> bool:
    """Whether a layer is a 1x1 convolution of all channels with a bias, in float32."""
    if type(layer) is not nn.Conv2d or layer.bias is None or layer.weight.dtype != torch.float32:
        return False
    return (layer.kernel_size, layer.stride, layer.padding, layer.groups) == ((1, 1), (1, 1), (0, 0), 1)


def is_watched(module: nn.Module) -> bool:
    """Whether a hook of its own sees what a module is given or returns."""
    return bool(module._forward_hooks or module._forward_pre_hooks)
