"""Global response normalization is what the paper defines, to the last digits on large maps."""

from __future__ import annotations

import torch

from zoo.models.backbones import convnext
from zoo.models.backbones.convnext import GRN


def test_response_normalization_is_as_defined(monkeypatch) -> None:
    monkeypatch.setattr(convnext, "SQUARES", 8 * 7)
    layer, x = GRN(8), torch.randn(2, 5, 6, 8)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    norm = x.double().square().sum((1, 2), keepdim=True).sqrt()
    expected = layer.gamma * (x * (norm / (norm.mean(-1, keepdim=True) + layer.eps))) + layer.beta + x
    torch.testing.assert_close(layer(x), expected.float(), rtol=1e-5, atol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected.float(), rtol=1e-5, atol=1e-5)
