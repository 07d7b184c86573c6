from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.layers.conv import make_conv
from zoo.models.layers.deform_conv import DCN, DCNv2, DeformConv


def sample(plane: Tensor, y: float, x: float) -> float:
    """Bilinear, zero outside."""
    value = 0.0
    for row in (math.floor(y), math.floor(y) + 1):
        for column in (math.floor(x), math.floor(x) + 1):
            if 0 <= row < plane.shape[0] and 0 <= column < plane.shape[1]:
                value += (1 - abs(y - row)) * (1 - abs(x - column)) * float(plane[row, column])
    return value


def obvious(conv: DeformConv, x: Tensor, offset: Tensor, mask: Tensor | None) -> Tensor:
    """The definition, one output value after the other, for one image and one group of filters."""
    (_, channels, _, _), (height, width) = x.shape, offset.shape[2:]
    out = torch.zeros(1, conv.out_channels, height, width)
    elements = [(i, j) for i in range(conv.kernel_size[0]) for j in range(conv.kernel_size[1])]
    for o, c, y, x0 in torch.cartesian_prod(*map(torch.arange, (conv.out_channels, channels, height, width))).tolist():
        group = c * conv.deform_groups // channels
        for k, (i, j) in enumerate(elements):
            index = group * len(elements) + k
            dy, dx = offset[0, 2 * index, y, x0], offset[0, 2 * index + 1, y, x0]
            at = [y * conv.stride[0] - conv.padding[0] + i * conv.dilation[0] + float(dy)]
            at.append(x0 * conv.stride[1] - conv.padding[1] + j * conv.dilation[1] + float(dx))
            factor = 1.0 if mask is None else float(mask[0, index, y, x0])
            out[0, o, y, x0] += float(conv.weight[o, c, i, j]) * factor * sample(x[0, c], *at)
    return out


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(("stride", "dilation", "deform_groups"), [(1, 1, 1), (2, 2, 2)])
@torch.no_grad()
def test_a_deformable_convolution_is_its_definition(modulated, stride, dilation, deform_groups):
    torch.manual_seed(0)
    conv = DeformConv(4, 2, 3, stride, dilation, dilation, deform_groups=deform_groups)
    x = torch.randn(1, 4, 6, 5)
    size = F.conv2d(x, conv.weight, None, stride, dilation, dilation).shape[2:]
    offset = 2 * torch.randn(1, 18 * deform_groups, *size)
    mask = torch.rand(1, 9 * deform_groups, *size) if modulated else None
    assert torch.allclose(conv(x, offset, mask), obvious(conv, x, offset, mask), atol=1e-5)


@pytest.mark.parametrize(("cls", "factor"), [(DCN, 1.0), (DCNv2, 0.5)])
@torch.no_grad()
def test_a_new_one_is_a_plain_convolution(cls, factor):
    conv, x = cls(4, 6, 3, stride=2, padding=1, bias=False), torch.randn(2, 4, 9, 8)
    assert torch.allclose(conv(x), factor * F.conv2d(x, conv.weight, None, 2, 1), atol=1e-5)


def test_a_image_smaller_than_the_kernel_works():
    assert DCN(2, 2, 3, padding=1)(torch.rand(1, 2, 1, 2)).shape == (1, 2, 1, 2)


def test_both_spellings_of_the_groups_mean_the_same():
    old, new = (make_conv({"type": "DCNv2", key: 4}, 8, 8, 3) for key in ("deformable_groups", "deform_groups"))
    assert old.conv_offset.weight.shape == new.conv_offset.weight.shape == (4 * 27, 8, 3, 3)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_low_precision_works_whole_and_mixed(dtype):
    conv, x = DCNv2(4, 4, 3, padding=1), torch.randn(1, 4, 9, 9)
    want = conv(x)
    with torch.autocast("cpu", dtype):
        assert torch.allclose(conv(x).float(), want, atol=0.1)
    assert torch.allclose(conv.to(dtype)(x.to(dtype)).float(), want, atol=0.1)
