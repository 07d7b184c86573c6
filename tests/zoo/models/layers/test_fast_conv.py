"""Results do not depend on how many threads compute them, where images are small."""

from __future__ import annotations

import copy
import gc
import pickle
from contextlib import contextmanager

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from zoo.models.backbones.resnet import ResNet
from zoo.models.layers import fast_conv, onednn, packed_filters, winograd_choice
from zoo.models.layers.cpu_choices import LARGE_PRODUCT
from zoo.models.layers.fast_conv import FastConv2d, hold_steady
from zoo.models.operations import counted_operations


@contextmanager
def threads(count: int):
    """So many threads compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def on_threads(count: int, layer: torch.nn.Module, x: torch.Tensor):
    """Outputs in inference."""
    with threads(count), torch.inference_mode():
        return layer(x)


def steady(layer: FastConv2d) -> FastConv2d:
    """The layer as a network that amplifies rounding has it."""
    layer.steady = True
    return layer


def test_only_a_network_that_amplifies_rounding_pays_for_steady_convolutions():
    def count(**options) -> int:
        net = hold_steady(ResNet(50, **options))
        return sum(module.steady for module in net.modules() if isinstance(module, FastConv2d))

    assert count() == 0
    assert count(dcn={"type": "DCN"}, stage_with_dcn=(False, False, False, True)) > 0


@pytest.mark.parametrize("channels", [(512, 1024), (1024, 1)])
def test_a_pointwise_convolution_gives_the_same_bits_on_any_number_of_threads(channels):
    torch.manual_seed(0)
    layer, x = steady(FastConv2d(*channels, 1)), torch.randn(1, channels[0], 16, 20)
    one = on_threads(1, layer, x)
    assert all(torch.equal(on_threads(count, layer, x), one) for count in (2, 3, 4))
    exact = torch.nn.functional.conv2d(x.double(), layer.weight.double(), layer.bias.double())
    assert torch.allclose(one.double(), exact, atol=1e-4)


def test_no_regions_give_no_maps_on_any_number_of_threads():
    layer = FastConv2d(8, 4, 1)
    layer.steady = True
    assert all(on_threads(count, layer, torch.empty(0, 8, 14, 14)).shape == (0, 4, 14, 14) for count in (1, 2))


def test_a_deformable_network_gives_the_same_bits_on_any_number_of_threads():
    torch.manual_seed(0)
    block = {"cfg": {"type": "ContextBlock", "ratio": 1 / 16}, "stages": (False, True, True, True)}
    net = ResNet(
        50,
        dcn={"type": "DCN", "deform_groups": 1},
        stage_with_dcn=(False, True, True, True),
        plugins=[block | {"position": "after_conv3"}],
        zero_init_residual=False,
    ).eval()
    for name, parameter in net.named_parameters():
        if "conv_offset" in name or "context_block" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    hold_steady(net)
    x = torch.randn(1, 3, 128, 160)
    assert all(torch.equal(a, b) for a, b in zip(on_threads(1, net, x), on_threads(2, net, x)))


@pytest.mark.parametrize("bias", [False, True])
def test_the_channels_of_a_pixel_together_give_the_same_numbers_on_any_number_of_threads(bias):
    torch.manual_seed(0)
    layer = FastConv2d(96, 64, 1, bias=bias)
    x = torch.randn(1, 96, 60, 70).contiguous(memory_format=torch.channels_last)
    assert x.numel() * 64 >= LARGE_PRODUCT
    exact = F.conv2d(x.double(), layer.weight.double(), None if layer.bias is None else layer.bias.double())
    for count in (1, 2):
        have = on_threads(count, layer, x)
        assert torch.allclose(have.double(), exact, atol=1e-5) and have.is_contiguous(memory_format=torch.channels_last)


def test_one_thread_chooses_the_kernels_of_several_only_where_it_pays(monkeypatch):
    """A dilated convolution is what makes PyTorch choose them; a kernel of one cell is the same at any dilation."""
    seen = []
    monkeypatch.setattr(fast_conv, "by_onednn", lambda x, *rest: seen.append(x.shape) or F.conv2d(x, *rest))
    monkeypatch.setattr(onednn, "has_onednn", lambda: True)
    layer, large = FastConv2d(96, 64, 1), torch.randn(1, 96, 60, 70).contiguous(memory_format=torch.channels_last)
    for count, x in [(2, large), (1, large.contiguous()), (1, large[:, :, :20, :20]), (1, large)]:
        on_threads(count, layer, x)
    with threads(1):
        layer(large)  # for gradients
    assert seen == [large.shape]


@pytest.mark.parametrize("geometry", [{"stride": 2}, {"groups": 2}, {"padding": 1}, {"padding": "same"}])
def test_other_convolutions_are_what_they_always_were(geometry):
    torch.manual_seed(0)
    layer, x = steady(FastConv2d(6, 4, 1, **geometry)), torch.randn(2, 6, 8, 9)
    plain = torch.nn.Conv2d(6, 4, 1, **geometry)
    plain.load_state_dict(layer.state_dict())
    assert torch.equal(on_threads(2, layer, x), on_threads(2, plain, x))


def test_it_trains():
    layer, x = steady(FastConv2d(6, 4, 1)), torch.randn(2, 6, 8, 9)
    with threads(2):
        layer(x).sum().backward()
    assert torch.allclose(layer.weight.grad[:, :, 0, 0], x.sum(dim=(0, 2, 3)).expand(4, 6), atol=1e-4)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_its_operations_are_counted_on_any_number_of_threads(layout):
    def operations(count: int) -> int:
        with FlopCounterMode(display=False) as counter:
            on_threads(
                count, steady(FastConv2d(96, 64, 1)), torch.randn(1, 96, 60, 70).contiguous(memory_format=layout)
            )
        return counter.get_total_flops()

    assert operations(1) == operations(2) == 2 * 96 * 64 * 60 * 70


def wide(channels: int = 256, filters: int = 256, size: tuple[int, int] = (56, 60), count: int = 1):
    """A 3x3 convolution and a map by cells for which Winograd's method pays."""
    torch.manual_seed(0)
    x = torch.randn(count, channels, *size).contiguous(memory_format=torch.channels_last)
    return FastConv2d(channels, filters, 3, padding=1), x


@pytest.fixture
def by_tiles(monkeypatch):
    """The shapes that were convolved by Winograd's method."""
    seen: list[torch.Size] = []
    way = fast_conv.convolve
    monkeypatch.setattr(fast_conv, "convolve", lambda x, *rest: seen.append(x.shape) or way(x, *rest))
    if not winograd_choice.available():
        pytest.skip("this PyTorch or processor has no packed convolutions")
    return seen


@pytest.mark.parametrize("count", [1, 2])
def test_a_wide_convolution_takes_fewer_multiplications_for_the_same_numbers(by_tiles, count):
    layer, x = wide()
    exact = F.conv2d(x.double(), layer.weight.double(), layer.bias.double(), padding=1)
    have = on_threads(count, layer, x)
    assert by_tiles == [x.shape]
    assert torch.allclose(have.double(), exact, atol=1e-5) and have.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("shape", [(64, 256), (256, 96), (256, 256, (25, 42)), (256, 256, (13, 13), 20)])
def test_other_maps_are_convolved_as_always(by_tiles, shape):
    layer, x = wide(*shape)
    assert torch.equal(on_threads(1, layer, x), on_threads(1, torch.nn.Conv2d.forward.__get__(layer), x))
    assert not by_tiles


def test_what_a_kernel_does_later_is_asked_in_every_call(by_tiles):
    """RFNext dilates kernels that exist; gradients, other types and steady networks have the plain way."""
    layer, x = wide()
    layer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        on_threads(1, layer, x)
    layer.double()(x.double())
    layer.float()
    on_threads(1, layer, x.contiguous())
    layer.dilation = layer.padding = (2, 2)
    on_threads(1, layer, x)
    layer.dilation = layer.padding = (1, 1)
    on_threads(1, steady(layer), x)
    assert not by_tiles
    layer.steady = False
    on_threads(1, layer, x)
    assert by_tiles


@pytest.fixture
def packed(monkeypatch):
    """The weights that were packed."""
    seen: list[torch.Tensor] = []
    way = packed_filters.pack
    monkeypatch.setattr(packed_filters, "pack", lambda weight: seen.append(weight) or way(weight))
    return seen


def test_filters_are_packed_once(by_tiles, packed):
    layer, x = wide(128, 128)
    first = on_threads(1, layer, x)
    assert torch.equal(on_threads(1, layer, x), first) and len(by_tiles) == 2 and len(packed) == 1


def test_changed_weights_count_at_once(by_tiles, packed):
    """Also where PyTorch's version counter does not see it, in another memory layout, and as another tensor."""
    layer, x = wide()
    first = on_threads(1, layer, x)
    layer.weight.data.mul_(2)
    layer.bias.data.mul_(2)
    assert torch.allclose(on_threads(1, layer, x), 2 * first, atol=1e-5)
    layer.to(memory_format=torch.channels_last)
    assert torch.allclose(on_threads(1, layer, x), 2 * first, atol=1e-5)
    layer.weight = torch.nn.Parameter(layer.weight[:128])
    layer.bias = torch.nn.Parameter(layer.bias[:128])
    assert torch.allclose(on_threads(1, layer, x), 2 * first[:, :128], atol=1e-5)
    assert len(by_tiles) == len(packed) == 4


def test_another_number_of_threads_packs_anew(by_tiles, packed):
    layer, x = wide(128, 128)
    assert torch.allclose(on_threads(1, layer, x), on_threads(2, layer, x), atol=1e-5)
    assert len(packed) == 2


def test_packed_filters_are_in_no_copy_and_in_no_file(by_tiles, packed):
    layer, x = wide(128, 128)
    before = pickle.dumps(layer)
    first = on_threads(1, layer, x)
    assert pickle.dumps(layer) == before
    for other in (copy.deepcopy(layer), pickle.loads(before)):
        assert other.weight not in packed_filters.KEPT and torch.equal(on_threads(1, other, x), first)
    assert len(packed) == 3


@pytest.mark.parametrize("change", ["train", "double"])
def test_training_and_moving_free_packed_filters(by_tiles, change):
    layer, x = wide(128, 128)
    on_threads(1, layer.eval(), x)
    assert layer.weight in packed_filters.KEPT
    assert getattr(layer, change)().weight not in packed_filters.KEPT


def test_packed_filters_go_with_their_layer(by_tiles):
    layer, x = wide(128, 128)
    before = len(packed_filters.KEPT)
    on_threads(1, layer, x)
    assert len(packed_filters.KEPT) == before + 1
    del layer
    gc.collect()
    assert len(packed_filters.KEPT) == before


def test_multiplications_are_counted_as_the_convolution_defines_them(by_tiles):
    layer, x = wide()
    with counted_operations() as counter:
        on_threads(1, layer, x)
    on_threads(1, layer, x)
    assert counter.get_total_flops() == 2 * 9 * 256 * 256 * 56 * 60 and len(by_tiles) == 1
