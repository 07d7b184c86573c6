from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from zoo.models.layers.same_padding import SamePaddingConv
from zoo.models.layers.switchable_atrous import SAC
from zoo.models.layers.trident_conv import TridentConv
from zoo.models.layers.weight_standardization import ConvAWS, ConvWS


@torch.no_grad()
def test_standardized_filters_have_mean_0_and_deviation_1():
    conv, x = ConvWS(6, 4, 3, padding=1, groups=2), torch.randn(1, 6, 7, 7)
    filters = torch.stack([(f - f.mean()) / (f.std() + 1e-5) for f in conv.weight])
    assert torch.allclose(conv(x), F.conv2d(x, filters, conv.bias, padding=1, groups=2), atol=1e-5)


@torch.no_grad()
def test_adaptive_standardization_with_a_filters_own_statistics_changes_nothing():
    conv, x = ConvAWS(6, 4, 3), torch.randn(1, 6, 7, 7)
    var, mean = torch.var_mean(conv.weight, dim=(1, 2, 3), keepdim=True)
    conv.weight_gamma.copy_((var + 1e-5).sqrt())
    conv.weight_beta.copy_(mean)
    assert torch.allclose(conv(x), F.conv2d(x, conv.weight, conv.bias), atol=1e-5)


@pytest.mark.parametrize("use_deform", [False, True])
@torch.no_grad()
def test_a_new_switchable_convolution_is_a_standardized_one(use_deform):
    conv, x = SAC(4, 6, 3, stride=2, padding=1, bias=False, use_deform=use_deform), torch.randn(2, 4, 9, 8)
    assert torch.allclose(conv(x), F.conv2d(x, conv.standardized(), None, 2, 1), atol=1e-5)


@torch.no_grad()
def test_the_switch_blends_two_dilations():
    conv, x = SAC(4, 6, 3, padding=1, bias=False), torch.randn(1, 4, 9, 8)
    conv.switch.bias.fill_(0.25)
    conv.weight_diff.normal_()
    near = F.conv2d(x, conv.standardized(), None, 1, 1)
    far = F.conv2d(x, conv.standardized() + conv.weight_diff, None, 1, 3, 3)
    assert torch.allclose(conv(x), 0.25 * near + 0.75 * far, atol=1e-5)


@pytest.mark.parametrize("size", [(8, 8), (7, 10), (9, 5)])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (3, 1), (1, 2)])
def test_same_padding_gives_a_cell_for_every_started_stride(size, kernel, stride):
    out = SamePaddingConv(2, 3, kernel, stride)(torch.rand(1, 2, *size))
    assert out.shape[2:] == tuple(-(-s // stride) for s in size)


def test_an_odd_padding_pixel_goes_below_and_right():
    conv = SamePaddingConv(1, 1, 2, bias=False)
    torch.nn.init.ones_(conv.weight)
    assert conv(torch.ones(1, 1, 2, 2))[0, 0].tolist() == [[4, 2], [2, 1]]


@torch.no_grad()
def test_trident_branches_share_a_kernel_and_differ_in_dilation():
    conv, x = TridentConv(3, 4, 3, bias=False, test_branch_idx=1), torch.randn(2, 3, 9, 9)
    branches = [F.conv2d(x, conv.weight, None, 1, d, d) for d in (1, 2, 3)]
    assert torch.allclose(conv.eval()(x), branches[1], atol=1e-6)
    conv.test_branch_idx = -1
    assert torch.allclose(conv(torch.cat([x] * 3)), torch.cat(branches), atol=1e-6)


@pytest.mark.parametrize("use_deform", [False, True])
def test_switchable_atrous_convolution_has_the_gradient_of_the_operator(use_deform: bool) -> None:
    torch.manual_seed(0)
    layer = SAC(2, 2, 3, padding=1, bias=False, use_deform=use_deform).double()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    names, values = zip(*layer.named_parameters())
    x = torch.randn(1, 2, 5, 6, dtype=torch.float64, requires_grad=True)

    def convolve(x: torch.Tensor, *values: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(layer, dict(zip(names, values)), (x,))

    assert torch.autograd.gradcheck(convolve, (x, *values))
