"""Folded residual networks write over maps that nothing else needs, and over no other."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo.models.backbones.hourglass import HourglassNet
from zoo.models.backbones.hrnet import HRNet
from zoo.models.backbones.resnet import ResNet
from zoo.models.fuse import fuse_conv_bn
from zoo.models.layers import fast_conv, onednn

HRNET = {
    "stage1": {"num_modules": 1, "num_branches": 1, "block": "BOTTLENECK", "num_blocks": (2,), "num_channels": (16,)},
    **{
        f"stage{i}": {
            "num_modules": 1,
            "num_branches": i,
            "block": "BASIC",
            "num_blocks": (2,) * i,
            "num_channels": tuple(8 * 2**j for j in range(i)),
        }
        for i in (2, 3, 4)
    },
}


def networks() -> dict[str, nn.Module]:
    """One of every kind that has residual blocks."""
    return {
        "bottlenecks": ResNet(50, base_channels=16, zero_init_residual=False),
        "basic blocks": ResNet(18, base_channels=16, zero_init_residual=False),
        "high resolution": HRNet(HRNET, zero_init_residual=False),
        "hourglass": HourglassNet(
            downsample_times=2, num_stacks=2, stage_channels=(32, 32, 48), stage_blocks=(2, 2, 2), feat_channel=32
        ),
    }


def folded(network: nn.Module) -> nn.Module:
    """With batch norm that is not the identity, folded."""
    torch.manual_seed(0)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_var, module.weight):
                nn.init.uniform_(value, 0.5, 1.5)  # type: ignore[arg-type]
            nn.init.uniform_(module.bias, -1, 1)
    assert fuse_conv_bn(network.eval())
    return network


def by_pixel(size: int = 64) -> Tensor:
    """An image of which a pixel's channels lie together."""
    return torch.rand(1, 3, size, size).contiguous(memory_format=torch.channels_last)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever can follow a convolution is computed with it, on small maps too."""
    monkeypatch.setattr(fast_conv, "suits_onednn", lambda *_: True)


@pytest.mark.parametrize("name", networks())
@pytest.mark.usefixtures("at_once")
def test_all_outputs_are_those_of_separate_steps(name: str) -> None:
    network, x = folded(networks()[name]), by_pixel()
    expected = network(x)  # with gradients each step has a map of its own
    with torch.inference_mode():
        have = network(x)
    for one, other in zip(have, expected, strict=True):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


@pytest.mark.skipif(not onednn.available(), reason="this PyTorch or processor has no convolution with what follows it")
@pytest.mark.usefixtures("at_once")
def test_a_folded_stage_takes_one_map_for_all_its_blocks_but_not_that_of_the_stage_before() -> None:
    network = folded(ResNet(50, base_channels=16, zero_init_residual=False))
    memory: dict[str, int] = {}
    for stage in ("layer1", "layer2"):
        for i, block in enumerate(getattr(network, stage)):
            block.register_forward_hook(lambda _, __, y, name=f"{stage}.{i}": memory.update({name: y.data_ptr()}))
    with torch.inference_mode():
        first = network.layer1(network.run_stem(by_pixel()))
        before = first.clone()
        network.layer2(first)
    assert memory["layer1.0"] == memory["layer1.1"] == memory["layer1.2"] != memory["layer2.0"]
    assert torch.equal(first, before)


def test_a_network_with_batch_norm_keeps_what_hooks_see() -> None:
    network, seen = ResNet(50, base_channels=16, zero_init_residual=False).eval(), []
    for block in network.layer1:
        block.register_forward_hook(lambda _, __, y: seen.append((y, y.clone())))
    with torch.inference_mode():
        network(by_pixel())
    assert len(seen) == 3 and all(torch.equal(now, then) for now, then in seen)
