from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision import ops

from zoo.models.layers import deform_rows, memory_format
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


@pytest.mark.parametrize("by_cells", [True, False])
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(("groups", "deform_groups", "stride"), [(1, 1, 1), (4, 1, 2), (1, 2, 1), (2, 2, 1)])
@torch.no_grad()
def test_inference_samples_rows_to_the_same_result_and_layout(
    groups, deform_groups, stride, modulated, by_cells, monkeypatch
):
    monkeypatch.setattr(deform_rows, "OUTPUTS", 7)
    torch.manual_seed(0)
    conv = DeformConv(32, 8, (3, 2), stride, (1, 2), groups=groups, deform_groups=deform_groups, bias=True)
    x = torch.randn(2, 32, 6, 7)
    x = x.contiguous(memory_format=torch.channels_last) if by_cells else x
    size = conv._conv_forward(x, conv.weight, None).shape[2:]
    offset = 3 * torch.randn(2, 12 * deform_groups, *size)
    offset[0, 0, 0, 0], offset[0, 1, 1, 1] = 1e30, -1e30
    mask = torch.rand(2, 6 * deform_groups, *size) if modulated else None
    assert deform_rows.samples_rows(x, offset, conv.weight, mask)
    have = conv(x, offset, mask)
    want = ops.deform_conv2d(x, offset, conv.weight, conv.bias, stride, (1, 2), 1, mask)
    torch.testing.assert_close(have, want, rtol=1e-5, atol=1e-5)
    assert memory_format.by_cells(have) == by_cells and (by_cells or have.is_contiguous())


@torch.no_grad()
def test_rows_are_found_by_offsets_that_lie_anyhow_and_under_another_default_device():
    conv, x, wide = DeformConv(16, 4, 3, padding=1), torch.randn(1, 16, 5, 5), torch.randn(1, 18, 9, 9)
    offset = wide[..., 2:7, 1:6]
    with torch.device("meta"):
        have = conv(x, offset)
    torch.testing.assert_close(have, ops.deform_conv2d(x, offset.contiguous(), conv.weight, padding=1))


@torch.no_grad()
def test_an_offset_that_is_no_number_spoils_its_own_outputs_only():
    conv, x = DeformConv(16, 4, 3, padding=1), torch.randn(1, 16, 5, 5)
    offset = torch.randn(1, 18, 5, 5)
    want = conv(x, offset)
    offset[0, 3, 2, 4] = float("nan")
    have = conv(x, offset)
    assert have[0, :, 2, 4].isnan().all()
    have[0, :, 2, 4] = want[0, :, 2, 4]
    torch.testing.assert_close(have, want, rtol=0, atol=0)


@torch.no_grad()
def test_rows_give_the_same_bits_on_any_number_of_threads():
    """Networks with deformable convolutions amplify rounding."""
    conv, x = DeformConv(64, 64, 3, padding=1), torch.randn(1, 64, 40, 48)
    offset, before = torch.randn(1, 18, 40, 48), torch.get_num_threads()
    try:
        results = [torch.set_num_threads(n) or conv(x, offset) for n in (1, 2, 3)]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0], results[1]) and torch.equal(results[0], results[2])


def test_rows_are_for_inference_and_for_more_than_a_few_channels():
    few, many = (DeformConv(c, 4, 1) for c in (4, 16))
    x, offset = torch.randn(1, 16, 3, 3), torch.randn(1, 2, 3, 3)
    assert not deform_rows.samples_rows(x, offset, many.weight, None)
    with torch.no_grad():
        assert deform_rows.samples_rows(x, offset, many.weight, None)
        assert not deform_rows.samples_rows(x[:, :4], offset, few.weight, None)
        assert not deform_rows.samples_rows(x.double(), offset.double(), many.weight.double(), None)
        with torch.autocast("cpu", torch.bfloat16):
            assert not deform_rows.samples_rows(x, offset, many.weight, None)


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
