"""The layout of images and filters in memory on a CPU."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import zoo
from zoo.models.detectors import base
from zoo.models.detectors.base import Detector

NAMES = ["yolox_tiny_8x8_300e_coco", "ssd300_coco"]


def network(name: str) -> Detector:
    torch.manual_seed(0)
    return zoo.build(name)


def layouts(model: nn.Module) -> set[bool]:
    """Whether the channels of filters larger than 1 x 1 lie together."""
    filters = [m.weight for m in model.modules() if isinstance(m, nn.Conv2d) and m.weight[0, 0].numel() > 1]
    return {weight.is_contiguous(memory_format=torch.channels_last) for weight in filters if weight.shape[1] > 1}


@pytest.mark.parametrize("name", NAMES)
def test_filters_follow_the_images_and_go_back_for_training(name: str) -> None:
    model, images = network(name), torch.randn(1, 3, 320, 320)
    assert layouts(model) == {False}
    with torch.inference_mode():
        model.features(images)
    assert layouts(model) == {True}
    maps = model.train().features(images)
    assert layouts(model) == {False}
    sum(m.square().mean() for m in maps).backward()  # type: ignore[union-attr]
    assert all(p.grad is not None for p in model.backbone.parameters() if p.requires_grad)


@pytest.mark.parametrize("name", NAMES)
def test_the_layout_of_filters_changes_no_bit(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, images = network(name), torch.randn(1, 3, 320, 320)
    with torch.inference_mode():
        laid = model.features(images)
        monkeypatch.setattr(base, "wants_filters_by_pixel", lambda *_: False)
        plain = model.features(images)
    assert layouts(model) == {False} and all(map(torch.equal, laid, plain))


def test_networks_whose_small_images_stay_keep_their_filters() -> None:
    model = network("retinanet_r18_fpn_1x_coco")
    with torch.inference_mode():
        model.features(torch.randn(1, 3, 64, 64))
    assert layouts(model) == {False}
