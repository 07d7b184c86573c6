"""Compiled graphs call group normalization as one operator, and get the same numbers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from zoo.models.layers.graph_norm import GroupNorm, group_norm_by_cells


@pytest.fixture(autouse=True)
def anew() -> None:
    """Nothing compiled before counts."""
    torch.compiler.reset()


@pytest.fixture
def layer() -> GroupNorm:
    """A layer that changes every channel in its own way."""
    norm = GroupNorm(4, 16)
    norm.weight.data.copy_(torch.linspace(0.5, 2, 16))
    norm.bias.data.copy_(torch.linspace(-1, 1, 16))
    return norm


class Recorded:
    """A compiler that changes nothing and keeps the names of the operators in its graphs."""

    def __init__(self) -> None:
        self.operators: set[str] = set()

    def __call__(self, graph: torch.fx.GraphModule, example: list[Tensor]) -> Callable[..., object]:
        self.operators |= {str(node.target) for node in graph.graph.nodes}
        return graph.forward


def maps(height: int = 9, width: int = 12) -> Tensor:
    """(2, 16, H, W) by cells."""
    x = torch.randn(2, 16, height, width, generator=torch.Generator().manual_seed(0))
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("size", [(9, 12), (1, 1)])
def test_the_operator_says_what_it_returns(layer: GroupNorm, size: tuple[int, int], affine: bool) -> None:
    state = (layer.weight.detach(), layer.bias.detach()) if affine else (None, None)
    arguments = (maps(*size), 4, *state, 1e-5)
    torch.library.opcheck(group_norm_by_cells, arguments, test_utils=("test_schema", "test_faketensor"))


@torch.inference_mode()
def test_a_compiled_graph_gives_the_same_bits_for_maps_of_every_size(layer: GroupNorm) -> None:
    compiler = Recorded()
    run = torch.compile(layer, backend=compiler, fullgraph=True)
    for size in ((9, 12), (5, 5), (1, 1)):
        assert torch.equal(run(maps(*size)), layer(maps(*size)))
    assert "zoo.group_norm_by_cells.default" in compiler.operators


@pytest.mark.parametrize("why", ["gradients", "planes", "autocast", "double"])
def test_other_graphs_are_the_compilers_alone(layer: GroupNorm, why: str) -> None:
    layer = layer.double() if why == "double" else layer
    x = (maps().contiguous() if why == "planes" else maps()).to(layer.weight.dtype)
    compiler = Recorded()
    run = torch.compile(layer, backend=compiler, fullgraph=True)
    with torch.set_grad_enabled(why == "gradients"), torch.autocast("cpu", torch.bfloat16, enabled=why == "autocast"):
        assert torch.allclose(run(x), layer(x), atol=1e-5)
    assert compiler.operators and not any("zoo" in name for name in compiler.operators)


def test_an_exported_program_has_no_operator_of_ours(layer: GroupNorm) -> None:
    with torch.no_grad():
        program = torch.export.export(layer, (maps(),))
    assert not any("zoo" in str(node.target) for node in program.graph.nodes)
