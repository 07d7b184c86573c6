"""In training, Winograd's convolution and its gradients are those of the plain one."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from zoo.models.layers import fast_conv, winograd_choice, winograd_training
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.packed_filters import KEPT
from zoo.models.layers.winograd import available
from zoo.models.layers.winograd_choice import as_defined
from zoo.models.layers.winograd_training import convolve_for_gradients

pytestmark = pytest.mark.skipif(not available(), reason="this PyTorch or processor has no packed convolutions")

SIZES = [(8, 12), (13, 19), (25, 38)]
WANTED = list(itertools.product([False, True], repeat=3))


@pytest.fixture
def by_tiles(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """Small layers are computed so, too; the shapes of those that were."""
    seen: list[torch.Size] = []
    way = fast_conv.convolve_for_gradients
    monkeypatch.setattr(fast_conv, "convolve_for_gradients", lambda x, *rest: seen.append(x.shape) or way(x, *rest))
    monkeypatch.setattr(winograd_choice, "WIDE_CONV_TRAINING", 16)
    monkeypatch.setattr(winograd_choice, "MOST_BEYOND", 100)
    monkeypatch.setattr(winograd_choice, "FEWEST_TILES_TRAINING", 1)
    return seen


def layer_and_maps(size: tuple[int, int] = (13, 19), bias: bool = True) -> tuple[FastConv2d, Tensor]:
    """A small convolution, 24 to 40 channels, and two maps that need gradients."""
    torch.manual_seed(0)
    return FastConv2d(24, 40, 3, padding=1, bias=bias), torch.randn(2, 24, *size, requires_grad=True)


def of_loss(outputs: Tensor) -> Tensor:
    """A loss whose gradient differs from cell to cell."""
    torch.manual_seed(1)
    return (outputs * torch.randn(outputs.shape, dtype=torch.float64).to(outputs.dtype)).sum()


def gradients(way: Callable[[Tensor], Tensor], layer: FastConv2d, x: Tensor) -> list[Tensor | None]:
    """Those of x and of the parameters."""
    of = [x, *layer.parameters()]
    for one in of:
        one.grad = None
    of_loss(way(x)).backward()
    return [one.grad for one in of]


def exact(layer: FastConv2d, x: Tensor) -> tuple[Tensor, list[Tensor]]:
    """Outputs and all gradients by PyTorch in double precision."""
    of = [one.detach().double().requires_grad_() for one in (x, *layer.parameters())]
    outputs = F.conv2d(*of, padding=1)
    return outputs, list(torch.autograd.grad(of_loss(outputs), of))


def agree(have: list[Tensor | None], wanted: list[Tensor]) -> bool:
    """Whether those gradients that there are come close, relative to their size."""
    pairs = [(a, b) for a, b in zip(have, wanted, strict=True) if a is not None]
    return all((a - b).abs().max() < 1e-5 * max(1, float(b.abs().max())) for a, b in pairs)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("bias", [False, True])
def test_outputs_and_gradients_are_exact(by_tiles: list[torch.Size], size: tuple[int, int], bias: bool) -> None:
    layer, x = layer_and_maps(size, bias)
    outputs, wanted = exact(layer, x)
    have = layer(x)
    assert (have - outputs).abs().max() < 2e-5 and have.is_contiguous() and by_tiles == [x.shape]
    assert agree(gradients(layer, layer, x), wanted)
    assert x.grad is not None and x.grad.is_contiguous()


@pytest.mark.parametrize("wanted", WANTED)
def test_just_the_gradients_that_are_wanted_are_there(by_tiles: list[torch.Size], wanted: tuple[bool, ...]) -> None:
    """Frozen layers, inputs that are images, and frozen stages, where nothing needs any."""
    layer, x = layer_and_maps()
    assert layer.bias is not None
    for one, needed in zip((x, layer.weight, layer.bias), wanted):
        one.requires_grad_(needed)
    outputs = layer(x)
    assert len(by_tiles) == 1 and outputs.requires_grad == any(wanted)
    assert (outputs - exact(layer, x)[0]).abs().max() < 2e-5
    if any(wanted):
        have = gradients(layer, layer, x)
        assert [one is not None for one in have] == list(wanted) and agree(have, exact(layer, x)[1])


@pytest.mark.parametrize("layout", ["by cells", "expanded", "every second"])
def test_gradients_may_come_in_any_memory_layout(by_tiles: list[torch.Size], layout: str) -> None:
    layer, x = layer_and_maps()
    ways: dict[str, Callable[[Tensor], Tensor]] = {
        "by cells": lambda y: y.contiguous(memory_format=torch.channels_last).square(),
        "expanded": lambda y: y.sum(dim=(2, 3)),
        "every second": lambda y: y[:, ::2, 1::2],
    }
    way = ways[layout]
    double = [one.detach().double().requires_grad_() for one in (x, *layer.parameters())]
    of = torch.autograd.grad(of_loss(way(F.conv2d(*double, padding=1))), double)
    assert agree(gradients(lambda x: way(layer(x)), layer, x), list(of)) and by_tiles


def test_filters_by_cells_have_the_same_gradients(by_tiles: list[torch.Size]) -> None:
    layer, x = layer_and_maps()
    wanted = exact(layer, x)[1]
    layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert agree(gradients(layer, layer, x), wanted) and by_tiles


def test_outputs_may_be_changed_in_place(by_tiles: list[torch.Size]) -> None:
    layer, x = layer_and_maps()
    plain = gradients(lambda x: F.relu(F.conv2d(x, layer.weight, layer.bias, padding=1)), layer, x)
    have = gradients(lambda x: F.relu_(layer(x)), layer, x)
    assert by_tiles and all(torch.allclose(a, b, atol=1e-3, rtol=1e-4) for a, b in zip(have, plain) if a is not None)


def test_inputs_that_are_changed_in_place_are_an_error(by_tiles: list[torch.Size]) -> None:
    layer, x = layer_and_maps()
    copied = x * 1
    outputs = layer(copied)
    copied.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        of_loss(outputs).backward()


@pytest.mark.parametrize("reentrant", [False, True])
def test_it_can_be_computed_again_for_its_gradients(by_tiles: list[torch.Size], reentrant: bool) -> None:
    layer, x = layer_and_maps()
    have = gradients(lambda x: checkpoint(layer, x, use_reentrant=reentrant), layer, x)
    assert len(by_tiles) == (1 if reentrant else 2)  # reentrant, the first pass records nothing and is the plain one
    assert agree(have, exact(layer, x)[1])


def test_changed_weights_count_in_the_next_step(by_tiles: list[torch.Size]) -> None:
    layer, x = layer_and_maps(bias=False)
    first = layer(x)
    layer.weight.data.mul_(2)
    assert torch.allclose(layer(x), 2 * first, atol=1e-5) and layer.weight not in KEPT


def test_a_second_derivative_is_an_error_not_a_wrong_number(by_tiles: list[torch.Size]) -> None:
    layer, x = layer_and_maps()
    for loss in (of_loss(layer(x).square()), layer(x).sum()):
        with pytest.raises(RuntimeError, match="Winograd's method has no second derivative"):
            torch.autograd.grad(loss, x, create_graph=True)


def test_it_keeps_no_more_than_the_plain_convolution(by_tiles: list[torch.Size]) -> None:
    """The map and the weight; of frozen filters, the weight alone."""

    def kept(layer: FastConv2d, x: Tensor) -> list[torch.Size]:
        sizes: list[torch.Size] = []
        with torch.autograd.graph.saved_tensors_hooks(lambda one: sizes.append(one.shape) or one, lambda one: one):
            layer(x)
        return sizes

    layer, x = layer_and_maps()
    assert kept(layer, x) == [x.shape, layer.weight.shape]
    layer.weight.requires_grad_(False)
    assert kept(layer, x) == [layer.weight.shape]


def test_autocast_around_the_backward_pass_alone_changes_nothing(by_tiles: list[torch.Size]) -> None:
    layer, x = layer_and_maps()
    loss = of_loss(layer(x))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss.backward()
    assert agree([x.grad, layer.weight.grad], exact(layer, x)[1][:2])


def test_who_asks_for_another_way_has_it(by_tiles: list[torch.Size]) -> None:
    """Other types, steady networks, counted multiplications, maps by cells, recorded and exported graphs."""
    layer, x = layer_and_maps()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        layer(x)
    with as_defined():
        layer(x)
    layer(x.contiguous(memory_format=torch.channels_last))
    layer.double()(x.double())
    layer.float()
    torch.jit.trace(layer, x, check_trace=False)
    torch.export.export(layer, (x.detach(),))
    layer.steady = True
    layer(x)
    layer.steady = False
    with torch.no_grad():
        layer(x)
    assert not by_tiles
    layer(x)
    assert by_tiles


@pytest.mark.parametrize("geometry", [{"stride": 2}, {"padding": 2, "dilation": 2}, {"groups": 2}, {"padding": 0}])
def test_other_convolutions_train_as_always(by_tiles: list[torch.Size], geometry: dict[str, int]) -> None:
    layer, x = FastConv2d(24, 40, 3, **{"padding": 1, **geometry}), torch.randn(2, 24, 13, 19)
    assert torch.equal(layer(x), torch.nn.Conv2d.forward(layer, x)) and not by_tiles


@pytest.mark.parametrize(("channels", "size"), [(128, (56, 60)), (256, (52, 52)), (256, (1, 800))])
def test_layers_that_gain_nothing_train_as_always(
    monkeypatch: pytest.MonkeyPatch, channels: int, size: tuple[int, int]
) -> None:
    monkeypatch.setattr(fast_conv, "convolve_for_gradients", no_such_way)
    layer, x = FastConv2d(channels, channels, 3, padding=1), torch.randn(1, channels, *size)
    assert torch.equal(layer(x), torch.nn.Conv2d.forward(layer, x))


def no_such_way(*inputs: Tensor) -> Tensor:
    """What must not be called."""
    raise AssertionError("computed by Winograd's method")


def test_maps_of_no_images_have_gradients(by_tiles: list[torch.Size]) -> None:
    layer, _ = layer_and_maps()
    layer(torch.randn(0, 24, 14, 14)).sum().backward()
    assert layer.weight.grad is not None and not layer.weight.grad.any() and not by_tiles


@pytest.mark.parametrize("size", [(1, 1), (5, 2), (4, 4)])
def test_the_function_is_the_convolution_at_any_size(size: tuple[int, int]) -> None:
    layer, x = layer_and_maps(size)
    have = gradients(lambda x: convolve_for_gradients(x, layer.weight, layer.bias), layer, x)
    assert agree(have, exact(layer, x)[1])


@pytest.mark.parametrize("numbers", [1, 40 * 19 * 5, 40 * 19 * 7, 40 * 19 * 13, 40 * 19 * 25])
def test_pieces_of_any_size_give_the_same(monkeypatch: pytest.MonkeyPatch, numbers: int) -> None:
    """A few rows at once, one map, or both."""
    monkeypatch.setattr(winograd_training, "PIECE", numbers)
    layer, x = layer_and_maps()
    assert (convolve_for_gradients(x, layer.weight, layer.bias) - exact(layer, x)[0]).abs().max() < 2e-5
    have = gradients(lambda x: convolve_for_gradients(x, layer.weight, layer.bias), layer, x)
    assert agree(have, exact(layer, x)[1])


def test_large_maps_are_computed_in_equal_bands_that_fill_tiles() -> None:
    assert winograd_training.piece(256, 200, 304) == (1, 50)
    assert winograd_training.piece(256, 100, 152) == (1, 100)
    assert winograd_training.piece(256, 14, 14) == (83, 14)
