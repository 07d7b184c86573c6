"""Predictions of a wide 3x3 convolution without its map in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoo.models.dense_heads.rpn import RPNHead
from zoo.models.layers import in_passing
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.in_passing import predicted_in_passing
from zoo.models.layers.winograd import available
from zoo.models.layers.winograd_choice import as_defined

pytestmark = pytest.mark.skipif(not available(), reason="this PyTorch or processor has no packed convolutions")


@pytest.fixture(autouse=True)
def every_map_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(in_passing, "LARGE_MAP", 0)


SIZES = [(1, 40, 52), (2, 33, 50), (1, 25, 38)]  # 25 rows: the last one is convolved directly


def maps(count: int, height: int, width: int) -> Tensor:
    """A random map that lies in memory by cells."""
    torch.manual_seed(0)
    return torch.randn(count, 128, height, width).contiguous(memory_format=torch.channels_last)


def layers() -> tuple[FastConv2d, nn.ReLU, list[nn.Conv2d]]:
    """A convolution, an activation that writes over its input, and two predictions."""
    torch.manual_seed(1)
    return FastConv2d(128, 160, 3, padding=1), nn.ReLU(inplace=True), [nn.Conv2d(160, 3, 1), nn.Conv2d(160, 12, 1)]


@pytest.mark.parametrize("size", SIZES)
@torch.no_grad()
def test_predictions_are_those_of_the_map(size: tuple[int, int, int]) -> None:
    (conv, relu, predictions), x = layers(), maps(*size)
    outputs = predicted_in_passing(conv, relu, predictions, x)
    hidden = nn.Conv2d.forward(conv, x).relu()
    assert outputs is not None
    for have, prediction in zip(outputs, predictions, strict=True):
        assert have.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(have, prediction(hidden), rtol=1e-5, atol=1e-5)


def hooked(conv: FastConv2d, relu: nn.Module, predictions: list[nn.Conv2d], x: Tensor) -> Tensor:
    relu.register_forward_hook(lambda module, inputs, output: None)
    return x


def before_a_prediction(conv: FastConv2d, relu: nn.Module, predictions: list[nn.Conv2d], x: Tensor) -> Tensor:
    predictions[1].register_forward_pre_hook(lambda module, inputs: None)
    return x


def steady(conv: FastConv2d, relu: nn.Module, predictions: list[nn.Conv2d], x: Tensor) -> Tensor:
    conv.steady = True
    return x


def strided(conv: FastConv2d, relu: nn.Module, predictions: list[nn.Conv2d], x: Tensor) -> Tensor:
    predictions[0].stride = (2, 2)
    return x


def by_planes(conv: FastConv2d, relu: nn.Module, predictions: list[nn.Conv2d], x: Tensor) -> Tensor:
    return x.contiguous()


@pytest.mark.parametrize("change", [hooked, before_a_prediction, steady, strided, by_planes])
@torch.no_grad()
def test_the_map_is_made_where_it_is_needed(change: Callable[..., Tensor]) -> None:
    conv, relu, predictions = layers()
    x = change(conv, relu, predictions, maps(*SIZES[0]))
    assert predicted_in_passing(conv, relu, predictions, x) is None


@torch.no_grad()
def test_a_small_map_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    (conv, relu, predictions), x = layers(), maps(*SIZES[0])
    size = 4 * 160 * 40 * 52
    for limit, passes in ((size, True), (size + 1, False)):
        monkeypatch.setattr(in_passing, "LARGE_MAP", limit)
        assert (predicted_in_passing(conv, relu, predictions, x) is not None) == passes


def test_gradients_and_counted_multiplications_need_the_map() -> None:
    assert predicted_in_passing(*layers(), maps(*SIZES[0])) is None
    with torch.no_grad(), as_defined():
        assert predicted_in_passing(*layers(), maps(*SIZES[0])) is None


@torch.no_grad()
def test_a_region_proposal_network_predicts_the_same_in_passing(monkeypatch: pytest.MonkeyPatch) -> None:
    head = RPNHead(
        128,
        feat_channels=128,
        anchor_generator={"type": "AnchorGenerator", "scales": [8], "ratios": [1.0], "strides": [4, 8]},
    ).eval()
    features = [maps(1, 40, 52), maps(1, 20, 26)]
    passed = []
    convolve = in_passing.convolve
    monkeypatch.setattr(in_passing, "convolve", lambda x, *rest: passed.append(x.shape) or convolve(x, *rest))
    outputs = head(features)
    assert passed[0] == features[0].shape
    head.relu.register_forward_hook(lambda module, inputs, output: None)
    for have, wanted in zip(outputs, head(features)):
        assert len(have) == len(wanted) == 2
        for level, other in zip(have, wanted):
            torch.testing.assert_close(level, other, rtol=1e-5, atol=1e-5)
