"""A stem band by band gives the same bits as at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo.models.backbones import resnet
from zoo.models.backbones.resnet import ResNet
from zoo.models.layers.bands import BAND, pooled_by_bands, wants_bands
from zoo.models.operations import counted_operations


@pytest.mark.parametrize("height", [1, 2, 3, 7, *range(4 * BAND - 4, 4 * BAND + 6), 8 * BAND + 1, 8 * BAND + 3])
@torch.inference_mode()
def test_a_band_has_what_the_whole_has_at_any_height(height: int) -> None:
    torch.manual_seed(0)
    conv, pool = nn.Conv2d(3, 8, 7, stride=2, padding=3), nn.MaxPool2d(3, stride=2, padding=1)
    x = torch.randn(2, 3, height, 30).contiguous(memory_format=torch.channels_last)
    have, expected = pooled_by_bands(conv, pool, x), pool(conv(x))
    torch.testing.assert_close(have, expected, rtol=0, atol=1e-6)
    assert have.shape == expected.shape


def by_pixel(height: int = 520, width: int = 520) -> Tensor:
    """An image of which a pixel's channels lie together."""
    return torch.rand(1, 3, height, width).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def heights(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The heights of images that were computed by bands."""
    seen: list[int] = []

    def watched(stem: object, pool: object, x: Tensor) -> Tensor:
        seen.append(x.shape[2])
        return pooled_by_bands(stem, pool, x)  # type: ignore[arg-type]

    monkeypatch.setattr(resnet, "pooled_by_bands", watched)
    return seen


def test_a_large_image_passes_the_stem_by_bands_with_the_same_result(heights: list[int]) -> None:
    network, x = ResNet(18, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)).eval(), by_pixel()
    with torch.inference_mode():
        (have,) = network(x)
    assert heights == [520]
    torch.testing.assert_close(have, network(x)[0], rtol=1e-5, atol=1e-5)
    assert heights == [520]  # with gradients, at once


def test_operations_are_counted_at_once(heights: list[int]) -> None:
    network = ResNet(18, num_stages=1, strides=(1,), dilations=(1,), out_indices=(0,)).eval()
    with counted_operations(), torch.inference_mode():
        network.run_stem(by_pixel())
    assert not heights


@torch.inference_mode()
def test_what_mixes_rows_is_computed_at_once() -> None:
    stem, x = ResNet(18).eval(), by_pixel()
    assert wants_bands(stem.conv1, stem.bn1, x)
    assert not wants_bands(stem.conv1, nn.GroupNorm(8, 64), x)
    assert not wants_bands(stem.conv1, nn.BatchNorm2d(64).train(), x)
    assert not wants_bands(stem.conv1, nn.InstanceNorm2d(64).eval(), x)
    assert not wants_bands(nn.Conv2d(3, 64, 3, stride=2, padding=1), stem.bn1, x)
    assert not wants_bands(stem.conv1, stem.bn1, x.contiguous())
