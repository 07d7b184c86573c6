"""Compiled graphs call a wide 3x3 convolution as one operator, and get the same numbers."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from zoo.models.layers import graph_conv, packed_filters
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.graph_conv import conv_by_cells


@pytest.fixture(autouse=True)
def anew() -> None:
    """Nothing compiled before counts."""
    torch.compiler.reset()


@pytest.fixture
def by_tiles(monkeypatch: pytest.MonkeyPatch) -> list[torch.Size]:
    """The shapes that the operator convolved by Winograd's method."""
    if not graph_conv.available():
        pytest.skip("this PyTorch or processor has no packed convolutions")
    seen: list[torch.Size] = []
    way = graph_conv.convolve
    monkeypatch.setattr(graph_conv, "convolve", lambda x, *rest: seen.append(x.shape) or way(x, *rest))
    return seen


def maps(height: int = 56, width: int = 60, channels: int = 128) -> Tensor:
    """(1, C, H, W) by cells."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, height, width, generator=generator).contiguous(memory_format=torch.channels_last)


def layer(channels: int = 128) -> FastConv2d:
    """A wide 3x3 convolution."""
    torch.manual_seed(0)
    return FastConv2d(channels, 128, 3, padding=1)


def exact(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """The convolution in double precision."""
    return torch.conv2d(x.double(), conv.weight.double(), conv.bias.double(), padding=1)


def compiled(conv: nn.Module, backend: str = "aot_eager") -> Callable[[Tensor], Tensor]:
    """One graph, called in inference."""
    whole = torch.compile(conv, backend=backend, fullgraph=True)
    return torch.inference_mode()(lambda x: whole(x))


@pytest.mark.parametrize("size", [(56, 60), (13, 13), (1, 1)])
@pytest.mark.parametrize("bias", [True, False])
def test_the_operator_says_what_it_returns(size: tuple[int, int], bias: bool) -> None:
    conv = layer()
    arguments = (maps(*size), conv.weight.detach(), conv.bias.detach() if bias else None)
    torch.library.opcheck(conv_by_cells, arguments, test_utils=("test_schema", "test_faketensor"))


def test_a_compiled_graph_takes_fewer_multiplications_for_the_same_numbers(by_tiles: list[torch.Size]) -> None:
    conv, x = layer(), maps()
    have = compiled(conv)(x)
    assert by_tiles == [x.shape]
    assert torch.allclose(have.double(), exact(conv, x), atol=1e-5)
    assert have.is_contiguous(memory_format=torch.channels_last)


def test_the_graph_chooses_for_each_map(by_tiles: list[torch.Size]) -> None:
    conv = layer()
    run = compiled(conv)
    for size in ((56, 60), (13, 13), (64, 72), (9, 20)):
        assert torch.allclose(run(maps(*size)).double(), exact(conv, maps(*size)), atol=1e-5)
    assert [tuple(shape[2:]) for shape in by_tiles] == [(56, 60), (64, 72)]


def test_the_graph_packs_filters_once_and_sees_a_change(
    by_tiles: list[torch.Size], monkeypatch: pytest.MonkeyPatch
) -> None:
    conv, x, seen, way = layer(), maps(), [], packed_filters.pack
    monkeypatch.setattr(packed_filters, "pack", lambda weight: seen.append(weight) or way(weight))
    run = compiled(conv)
    assert torch.equal(run(x), run(x)) and len(seen) == 1
    conv.weight.data.mul_(2)
    assert torch.allclose(run(x).double(), exact(conv, x), atol=1e-4) and len(seen) == 2


def test_what_the_compiler_itself_makes_of_it_is_right(by_tiles: list[torch.Size]) -> None:
    if shutil.which("g++") is None:
        pytest.skip("PyTorch's compiler needs g++ on a CPU")
    conv, x = layer(), maps()
    have = compiled(nn.Sequential(conv, nn.ReLU()), "inductor")(x)
    assert len(by_tiles) == 1 and torch.allclose(have.double(), exact(conv, x).relu(), atol=1e-5)


@pytest.mark.parametrize("why", ["gradients", "planes", "autocast", "steady", "few channels"])
def test_other_graphs_are_the_compilers_alone(why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[Tensor] = []
    monkeypatch.setattr(graph_conv, "fits_tiles", lambda x: called.append(x) or False)
    conv = layer(64 if why == "few channels" else 128)
    conv.steady = why == "steady"
    x = maps(channels=conv.in_channels)
    run = torch.compile(conv, backend="aot_eager", fullgraph=True)
    with torch.set_grad_enabled(why == "gradients"), torch.autocast("cpu", torch.bfloat16, enabled=why == "autocast"):
        have = run(x.contiguous() if why == "planes" else x)
    assert torch.allclose(have.double(), exact(conv, x), atol=0.1 if why == "autocast" else 1e-5) and not called


def test_an_exported_program_has_no_operator_of_ours() -> None:
    with torch.no_grad():
        program = torch.export.export(layer(), (maps(),))
    assert not any("zoo" in str(node.target) for node in program.graph.nodes)
