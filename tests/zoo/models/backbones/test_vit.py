"""Attention band by band is attention over the whole map."""

from __future__ import annotations

import pytest
import torch

from zoo.models.backbones import vit
from zoo.models.backbones.vit import RelativeAttention


@pytest.mark.parametrize("positions", [True, False])
@pytest.mark.parametrize("scores", [1, 2 * 2 * 6 * 30, 3 * 2 * 30 * 30], ids=["row", "two rows", "three maps"])
def test_bands_give_the_numbers_of_the_whole_map(scores: int, positions: bool, monkeypatch) -> None:
    monkeypatch.setattr(vit, "SCORES", scores)
    layer, x = RelativeAttention(16, 2, True, positions, (4, 6)).eval(), torch.randn(5, 5, 6, 16)
    for name, parameter in layer.named_parameters():
        if name.startswith("rel_pos"):
            torch.nn.init.normal_(parameter)
    expected = layer(x)  # with gradients all scores are computed at once
    with torch.inference_mode():
        torch.testing.assert_close(layer(x), expected, rtol=1e-5, atol=1e-6)
