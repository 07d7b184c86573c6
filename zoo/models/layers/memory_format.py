"""Fast paths of a CPU: channels-last layout and in-place operators.

On a CPU a feature map of 60 MB costs as much to allocate (the system hands out and clears every page of it) as the
convolution that fills it, and the compiled operators are fastest where a pixel's channels lie together.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo.models.layers.cpu_choices import SMALL_PIXELS, SMALL_PIXELS_OF
from zoo.models.layers.tracing import in_graph, recording


def unrecorded() -> bool:
    """Whether nothing remembers intermediate results: neither for gradients nor for an exported graph."""
    return not (torch.is_grad_enabled() or recording())


def plain_on_cpu(x: Tensor) -> bool:
    """Whether `x` is a float32 tensor on a CPU, and neither a graph nor a compiler decides how it is computed."""
    simple = x.device.type == "cpu" and x.dtype == torch.float32
    return simple and not in_graph()


def eager_on_cpu(x: Tensor) -> bool:
    """The same in inference, where nothing needs gradients."""
    return plain_on_cpu(x) and not torch.is_grad_enabled()


# Steps whose gradients need their inputs, not their results.
FORGETFUL = {f"{name}Backward0" for name in ("NativeBatchNorm", "CudnnBatchNorm", "NativeGroupNorm", "Convolution")}


def added(x: Tensor, y: Tensor) -> Tensor:
    """`x + y`, in the memory of `x` where nothing remembers it. `x` must be needed nowhere else."""
    return x.add_(y) if unrecorded() or (forgotten(x) and x.dtype == y.dtype) else x + y


def forgotten(x: Tensor) -> bool:
    """Whether no gradient needs the values of a result `x`, and no graph is made of it."""
    if in_graph():
        return False
    return not x.requires_grad or (x.grad_fn is not None and x.grad_fn.name() in FORGETFUL)


def added_doubled(x: Tensor, y: Tensor) -> Tensor | None:
    """`x` plus `y` at twice its size by nearest neighbors, in the memory of `x` and without a map between them.

    x: (N, C, H, W), needed nowhere else. y: (N, C, h, w). None where that is not possible: the sizes are others, or the
    maps do not lie in memory by cells, or more than the sum is needed.
    """
    n, channels, h, w = y.shape
    if x.shape != (n, channels, 2 * h, 2 * w) or not (eager_on_cpu(x) and by_cells(x) and by_cells(y)):
        return None
    cells = x.permute(0, 2, 3, 1).view(n, h, 2, w, 2, channels)
    cells.add_(y.permute(0, 2, 3, 1)[:, :, None, :, None])
    return x


def pixel_by_pixel(images: Tensor, backbone: str = "") -> Tensor:
    """(N, C, H, W) with the channels of a pixel together in memory, where that is faster: large images on a CPU.

    Small ones stay as they are for most backbones: little is to be gained there, and `FastConv2d` can keep their bits
    the same. So do all in training, where AVX2 loses by it and PyTorch's backward pass crashed with a small keypoint
    network. backbone: the type's name.
    """
    if images.device.type != "cpu" or not unrecorded() or is_small(images, SMALL_PIXELS_OF.get(backbone, SMALL_PIXELS)):
        return images
    return images.contiguous(memory_format=torch.channels_last)


def wants_filters_by_pixel(images: Tensor, backbone: str) -> bool:
    """Whether a network's filters should lie in memory as `pixel_by_pixel` laid its images: where it does at any size.

    Otherwise PyTorch copies every filter in every call: SSD300 takes 7% longer. Networks that leave small images as
    they are keep their filters too, since a convolution follows the layout of either.
    """
    return SMALL_PIXELS_OF.get(backbone) == 0 and eager_on_cpu(images) and by_cells(images)


def lay_filters(network: nn.Module, by_pixel: bool) -> None:
    """Put the channels of each cell of all 2-D filters together in memory, or apart; the numbers stay the same."""
    layout = torch.channels_last if by_pixel else torch.contiguous_format
    with torch.inference_mode(False):
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=layout)


def is_small(images: Tensor, limit: int) -> bool:
    """Whether images (N, C, H, W) have so few pixels that their layout in memory hardly matters."""
    return images.shape[0] * images.shape[2] * images.shape[3] <= limit


def by_cells(x: Tensor) -> bool:
    """Whether the channels of a cell of (N, C, H, W) lie together in memory, and several cells in each map."""
    return not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)


def zero_maps(count: int, channels: int, size: tuple[int, int], like: Tensor) -> Tensor:
    """Zeros (count, channels, h, w), by cells if `like` is or that is how regions come. size: (h, w)."""
    if by_cells(like) or eager_on_cpu(like):
        return like.new_zeros(count, *size, channels).permute(0, 3, 1, 2)
    return like.new_zeros(count, channels, *size)
