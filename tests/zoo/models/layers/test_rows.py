"""Layers that treat every row alike give the same numbers for some rows at a time, and hooks see all rows."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook

from zoo.models.backbones.convnext import ConvNeXtBlock
from zoo.models.backbones.vit import ViTMlp
from zoo.models.layers import rows
from zoo.models.transformer.feedforward import FFN

NETWORKS = {
    "transformer": lambda: FFN(16, 64),
    "without a shortcut": lambda: FFN(16, 64, num_fcs=3, add_identity=False),
    "vision transformer": lambda: ViTMlp(16, 64, {"type": "GELU"}),
    "ConvNeXt": lambda: ConvNeXtBlock(16),
}


@pytest.fixture
def pieces(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Rows that were computed at a time; seven of 64 numbers are a piece, and every map is large."""
    seen: list[int] = []
    whole = rows.pieced

    def pieced(run: object, x: Tensor, step: int) -> Tensor:
        seen.append(step)
        return whole(run, x, step)

    monkeypatch.setattr(rows, "pieced", pieced)
    monkeypatch.setattr(rows, "PIECE", 7 * 4 * 64)
    monkeypatch.setattr(rows, "LARGE_HIDDEN", 0)
    return seen


def tokens(name: str) -> Tensor:
    return torch.randn(2, 16, 5, 6) if name == "ConvNeXt" else torch.randn(2, 30, 16)


@pytest.mark.parametrize("name", NETWORKS)
def test_pieces_give_the_numbers_of_all_rows(name: str, pieces: list[int]) -> None:
    network, x = NETWORKS[name]().eval(), tokens(name)
    expected = network(x)  # with gradients all rows are computed at once
    assert not pieces
    with torch.inference_mode():
        torch.testing.assert_close(network(x), expected, rtol=1e-6, atol=1e-6)
    assert pieces == [7]


def test_a_small_map_is_computed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "pieced", lambda *_: pytest.fail("in pieces"))
    with torch.inference_mode():
        FFN(16, 64).eval()(torch.randn(2, 30, 16))


def test_no_rows_stay_none(pieces: list[int]) -> None:
    with torch.inference_mode():
        assert FFN(16, 64).eval()(torch.randn(0, 30, 16)).shape == (0, 30, 16)


def test_hooks_see_all_rows(pieces: list[int]) -> None:
    network, seen = FFN(16, 64).eval(), []
    handle = network.layers[0].register_forward_hook(lambda _, __, y: seen.append(len(y)))
    with torch.inference_mode():
        network(torch.randn(30, 16))
        handle.remove()
        everywhere = register_module_forward_hook(
            lambda module, _, y: seen.append(len(y)) if isinstance(module, nn.ReLU) else None
        )
        try:
            network(torch.randn(30, 16))
        finally:
            everywhere.remove()
    assert seen == [30, 30] and not pieces
