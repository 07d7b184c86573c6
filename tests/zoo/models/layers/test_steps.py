"""What follows a convolution is computed with it, with the same result, and only where nobody notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from zoo.models.layers import onednn
from zoo.models.layers.fast_conv import FastConv2d, suits_onednn
from zoo.models.layers.steps import activated, activated_sum
from zoo.models.operations import counted_operations

needs_onednn = pytest.mark.skipif(
    not onednn.available(), reason="this PyTorch or processor has no convolution with what follows it"
)
LARGE = (160, 160)
GEOMETRIES = [{"kernel_size": 1}, {"kernel_size": 3, "padding": 1}, {"kernel_size": 3, "padding": 2, "dilation": 2}]


def a_map(channels: int = 16, size: tuple[int, int] = (10, 12), count: int = 2) -> Tensor:
    """Numbers of which a cell's channels lie together."""
    return torch.randn(count, channels, *size).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def in_one_pass(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of what was computed together."""
    seen: list[str] = []
    way = onednn.convolve

    def convolve(conv: nn.Conv2d, x: Tensor, activation: nn.Module | None, shortcut: Tensor | None) -> Tensor:
        seen.append("activation" if shortcut is None else "sum")
        return way(conv, x, activation, shortcut)

    monkeypatch.setattr(onednn, "convolve", convolve)
    return seen


def check_activated(geometry: dict, activation: nn.Module, x: Tensor) -> None:
    """A convolution and its activation give the numbers of separate steps."""
    conv = FastConv2d(16, 24, **geometry)
    expected = activation(nn.Conv2d.forward(conv, x))
    torch.testing.assert_close(activated(conv, None, activation, x), expected, rtol=1e-5, atol=1e-6)


@needs_onednn
@pytest.mark.parametrize("activation", [nn.ReLU(), nn.ReLU(inplace=True)])
@pytest.mark.parametrize("geometry", [*GEOMETRIES, {"kernel_size": 3, "stride": 2}, {"kernel_size": 3, "groups": 4}])
@torch.inference_mode()
def test_an_activation_is_computed_with_the_convolution(geometry: dict, activation: nn.Module, in_one_pass) -> None:
    check_activated(geometry, activation, a_map(size=LARGE))
    assert in_one_pass == ["activation"]


@needs_onednn
@pytest.mark.parametrize(
    ("geometry", "together"),
    [({"kernel_size": 1}, True), ({"kernel_size": 3, "groups": 4}, True), ({"kernel_size": 3}, False)],
)
@torch.inference_mode()
def test_silu_is_computed_with_a_convolution_that_does_not_slow_it_down(
    geometry: dict, together: bool, in_one_pass
) -> None:
    check_activated(geometry, nn.SiLU(), a_map(size=LARGE))
    assert bool(in_one_pass) == together


@pytest.mark.parametrize("geometry", GEOMETRIES)
@torch.inference_mode()
def test_a_small_map_does_not_wait_for_kernels_to_be_prepared(geometry: dict, in_one_pass) -> None:
    check_activated(geometry, nn.ReLU(), a_map(count=1))
    assert not in_one_pass


@pytest.mark.parametrize(("threads", "together"), [(1, False), (2, True)])
@torch.inference_mode()
def test_a_small_product_takes_one_pass_on_several_threads(threads: int, together: bool, monkeypatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    conv = FastConv2d(16, 24, 1)
    assert suits_onednn(conv, a_map()) == together
    assert suits_onednn(conv, a_map(size=LARGE))


@needs_onednn
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_a_sum_is_made_in_the_memory_of_the_shortcut(geometry: dict, bias: bool, in_one_pass) -> None:
    conv, x, shortcut = FastConv2d(16, 24, bias=bias, **geometry), a_map(size=LARGE), a_map(24, LARGE)
    expected = (nn.Conv2d.forward(conv, x) + shortcut).relu()
    have = activated_sum(conv, nn.Identity(), nn.ReLU(), x, shortcut, free=True)
    torch.testing.assert_close(have, expected, rtol=1e-6, atol=1e-6)
    assert in_one_pass == ["sum"] and have.data_ptr() == shortcut.data_ptr()


@torch.inference_mode()
def test_a_shortcut_that_is_needed_elsewhere_stays_as_it_is(in_one_pass) -> None:
    conv, x, shortcut = FastConv2d(16, 24, 1), a_map(), a_map(24)
    before = shortcut.clone()
    have = activated_sum(conv, nn.Identity(), nn.ReLU(), x, shortcut, free=False)
    assert torch.equal(shortcut, before) and not in_one_pass
    torch.testing.assert_close(have, (nn.Conv2d.forward(conv, x) + shortcut).relu())


def different_shape(conv: FastConv2d, x: Tensor) -> Tensor:
    return conv(x, nn.ReLU(), torch.ones(1, 24, 1, 1))


def apart(conv: FastConv2d, x: Tensor) -> Tensor:
    return conv(x.contiguous(), nn.ReLU(), torch.ones(2, 24, 10, 12))


def with_gradients(conv: FastConv2d, x: Tensor) -> Tensor:
    with torch.enable_grad():
        return conv(x, nn.ReLU(inplace=True), torch.ones(2, 24, 10, 12).to(memory_format=torch.channels_last))


def counted(conv: FastConv2d, x: Tensor) -> Tensor:
    with counted_operations():
        return conv(x, nn.ReLU(), torch.ones(2, 24, 10, 12).to(memory_format=torch.channels_last))


def steadily(conv: FastConv2d, x: Tensor) -> Tensor:
    conv.steady = True
    return conv(x, nn.ReLU(), torch.ones(2, 24, 10, 12).to(memory_format=torch.channels_last))


def by_another_activation(conv: FastConv2d, x: Tensor) -> Tensor:
    return conv(x, nn.Threshold(0, 0), torch.ones(2, 24, 10, 12).to(memory_format=torch.channels_last))


@pytest.mark.parametrize(
    "way",
    [different_shape, apart, with_gradients, counted, steadily, by_another_activation],
    ids=lambda way: way.__name__,
)
@torch.inference_mode()
def test_elsewhere_the_steps_are_separate_and_the_result_is_the_same(
    way: Callable[[FastConv2d, Tensor], Tensor], in_one_pass
) -> None:
    conv, x = FastConv2d(16, 24, 1), a_map()
    torch.testing.assert_close(way(conv, x), (nn.Conv2d.forward(conv, x) + 1).relu(), rtol=1e-5, atol=1e-5)
    assert not in_one_pass


@torch.inference_mode()
def test_a_sum_with_the_input_itself_does_not_destroy_it(in_one_pass) -> None:
    conv, x = FastConv2d(16, 16, 3, padding=1), a_map()
    expected = nn.Conv2d.forward(conv, x) + x
    torch.testing.assert_close(conv(x, None, x), expected)
    assert not in_one_pass


@torch.inference_mode()
def test_normalization_in_between_is_computed(in_one_pass) -> None:
    conv, norm, x = FastConv2d(16, 24, 1), nn.BatchNorm2d(24).eval(), a_map()
    norm.running_mean += 1  # type: ignore[operator]
    torch.testing.assert_close(activated(conv, norm, nn.ReLU(), x), norm(nn.Conv2d.forward(conv, x)).relu())
    assert not in_one_pass


@pytest.fixture
def ask_again() -> Iterator[None]:
    """Whether the operators are there is asked anew, before and after."""
    onednn.available.cache_clear()
    yield
    onednn.available.cache_clear()


@needs_onednn
def test_operators_that_changed_are_not_used(monkeypatch: pytest.MonkeyPatch, ask_again: None) -> None:
    """They are not public: a later PyTorch may have others, or the same with other results."""
    monkeypatch.setitem(onednn.ACTIVATIONS, nn.ReLU, "swish")
    assert not onednn.available()
    onednn.available.cache_clear()
    monkeypatch.setitem(onednn.ACTIVATIONS, nn.ReLU, "no such name")
    assert not onednn.available()
    onednn.available.cache_clear()
    monkeypatch.setitem(onednn.ACTIVATIONS, nn.ReLU, "relu")
    assert onednn.available()
