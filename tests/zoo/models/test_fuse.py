from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from zoo.models.fuse import fuse_conv_bn


class Block(nn.Module):
    """All convolutions registered before all batch norms, as in a bottleneck."""

    def __init__(self, order: tuple[str, ...] | None = None) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, bias=False), nn.Conv2d(4, 3, 1)
        self.bn1, self.bn2 = nn.BatchNorm2d(4), nn.BatchNorm2d(3)
        if order:
            self.order = order

    def forward(self, x: Tensor) -> Tensor:
        return self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))


def randomized(model: nn.Module) -> nn.Module:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            for value in (module.running_var, module.weight):
                nn.init.uniform_(value, 0.5, 2)
            for value in (module.running_mean, module.bias):
                nn.init.uniform_(value, -1, 1)
    return model.eval()


@pytest.mark.parametrize(
    "model",
    [Block(), nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU()), nn.Sequential(Block(), Block())],
    ids=["named", "sequential", "nested"],
)
def test_a_folded_network_computes_the_same_without_batch_norm(model):
    randomized(model)
    x = torch.rand(2, 3, 8, 8)
    want = model(x)
    assert fuse_conv_bn(model) > 0
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert torch.allclose(model(x), want, atol=1e-5)
    assert fuse_conv_bn(model) == 0


class WeightStandardized(nn.Conv2d):
    def forward(self, x: Tensor) -> Tensor:
        return self._conv_forward(x, self.weight - self.weight.mean(dim=(1, 2, 3), keepdim=True), self.bias)


def test_what_cannot_be_folded_stays():
    shared = nn.Conv2d(3, 3, 1)
    models = [
        nn.ModuleList([nn.Sequential(shared, nn.BatchNorm2d(3)), nn.Sequential(shared, nn.BatchNorm2d(3))]),
        nn.Sequential(WeightStandardized(3, 3, 1), nn.BatchNorm2d(3)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3, track_running_stats=False)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU(), nn.BatchNorm2d(3)),
        nn.Sequential(nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3)),
        Block(order=("norm", "conv", "act")),
        Block(order=("conv", "act", "norm")),
    ]
    assert [fuse_conv_bn(model.eval()) for model in models] == [0] * len(models)


def test_a_network_in_training_is_refused():
    with pytest.raises(ValueError, match="eval"):
        fuse_conv_bn(Block().train())
