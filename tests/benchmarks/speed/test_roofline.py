"""The share of the limit: operations, bytes and time of every layer, and live memory."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from benchmarks.cli import main
from benchmarks.speed import images
from benchmarks.speed.roofline import limit
from benchmarks.speed.roofline.peaks import Peaks
from benchmarks.speed.roofline.trace import Operation, watched
from benchmarks.speed.workload import DetectorWorkload
from tests.benchmarks.stub import StubDetector
from zoo.models.layers import onednn
from zoo.models.layers.fast_conv import FastConv2d
from zoo.models.layers.winograd import available

PEAKS = Peaks(convolution=1e9, depthwise=1e8, product=2e9, memory=1e9, cache=1e10)


@torch.inference_mode()
def trace_of(model: nn.Module, *inputs: torch.Tensor) -> list[Operation]:
    """What a network does, after a call that makes what is made once."""
    model.eval()(*inputs)
    with watched(model, torch.device("cpu")) as trace:
        model(*inputs)
    return trace.operations


def test_a_convolution_has_its_operations_and_bytes_under_its_layers_name() -> None:
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.ReLU())
    first, second = trace_of(network, torch.rand(1, 3, 16, 20))
    assert (first.layer, first.kind, first.flops) == ("0", "convolution", 2 * 3 * 8 * 9 * 16 * 20)
    assert first.size == 4 * (3 * 320 + 3 * 8 * 9 + 8 * 320)
    assert (second.layer, second.kind, second.flops, second.size) == ("1", None, 0.0, 4 * 2 * 8 * 320)


@pytest.mark.skipif(not available(), reason="this PyTorch or processor has no packed convolutions")
def test_a_convolution_by_tiles_has_the_operations_that_it_takes() -> None:
    x = torch.rand(1, 128, 40, 48).contiguous(memory_format=torch.channels_last)
    operations = trace_of(FastConv2d(128, 256, 3, padding=1), x)
    products = [one.flops for one in operations if one.kind == "convolution"]
    assert products == 2 * [2 * 36 * 64 * 128 * 256]  # 120 tiles are two times 64


@pytest.mark.skipif(not onednn.available(), reason="this PyTorch or processor has no convolution with what follows it")
def test_a_convolution_that_adds_and_activates_is_one_operation() -> None:
    class Block(nn.Module):
        def __init__(self, groups: int) -> None:
            super().__init__()
            self.conv, self.relu = FastConv2d(16, 16, 3, padding=1, bias=False, groups=groups), nn.ReLU()

        def forward(self, x: torch.Tensor, shortcut: torch.Tensor) -> torch.Tensor:
            return self.conv(self.conv(x, self.relu), self.relu, shortcut)

    x, shortcut = (torch.rand(2, 16, 8, 9).contiguous(memory_format=torch.channels_last) for _ in range(2))
    for groups, kind in [(1, "convolution"), (16, "depthwise")]:
        first, second = trace_of(Block(groups), x, shortcut)
        assert first.kind == second.kind == kind
        assert first.flops == second.flops == 2 * 9 * 16 * 16 // groups * 2 * 8 * 9
        sizes = tuple(4 * (maps * 2 * 16 * 8 * 9 + 9 * 16 * 16 // groups) for maps in (2, 3))
        assert (first.size, second.size) == sizes


def test_filling_some_rows_moves_only_these() -> None:
    class Fill(nn.Module):
        def forward(self, target: torch.Tensor, rows: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
            return target.index_copy_(0, rows, source)

    (filled,) = trace_of(Fill(), torch.zeros(1000, 8), torch.arange(10), torch.ones(10, 8))
    assert filled.size == 10 * 8 + 2 * 10 * 8 * 4


def test_a_number_that_fills_rows_is_read_from_nowhere() -> None:
    class Fill(nn.Module):
        def forward(self, target: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
            return target.index_fill_(0, rows, 0)

    (filled,) = trace_of(Fill(), torch.ones(1000, 8), torch.arange(10))
    assert filled.size == 10 * 8 + 10 * 8 * 4


def test_kinds_have_peaks_of_their_own() -> None:
    depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    assert [one.kind for one in trace_of(depthwise, torch.rand(1, 8, 16, 16))] == ["depthwise"]
    assert "product" in [one.kind for one in trace_of(nn.Linear(8, 4), torch.rand(3, 8))]


def test_the_limit_is_the_larger_of_computing_and_moving() -> None:
    assert PEAKS.seconds("convolution", 4e9, 1e8) == 4.0
    assert PEAKS.seconds("convolution", 1e7, 1e8) == 0.1
    assert PEAKS.seconds(None, 0.0, 1e6) == 1e6 / 1e10  # what a cache holds moves faster


def test_live_memory_is_what_exists_at_once_not_all_that_was_made() -> None:
    network = nn.Sequential(*(nn.ReLU() for _ in range(8)))
    with torch.inference_mode(), watched(network, torch.device("cpu")) as trace:
        network(torch.rand(1000, 1000))
    assert 2 * 4e6 <= trace.peak < 4 * 4e6 and trace.live <= 2 * 4e6


def test_hooks_are_gone_afterwards_even_when_the_network_fails() -> None:
    network = nn.Linear(3, 3)
    with pytest.raises(RuntimeError), watched(network, torch.device("cpu")):
        network(torch.rand(2, 5))
    before = torch.nn.modules.module._global_forward_hooks
    assert not before


def test_a_detector_has_a_share_and_the_layers_that_lose_most() -> None:
    result = limit.of(DetectorWorkload(StubDetector(), images.generated(1, (96, 128))), rounds=2).to_dict()
    assert result["share"] > 0 and 0 < result["limit"] < 10 and len(result["worst"]) <= limit.WORST
    assert result["floor_mib"] > result["weights_mib"] > 0
    lost = [one["seconds"] - one["limit"] for one in result["worst"]]
    assert lost == sorted(lost, reverse=True)


def test_bench_inference_prints_the_share(tmp_path, capsys) -> None:
    words = ["inference", "yolox_tiny_8x8_300e_coco", "--random-weights", "--limit", "1", "--roofline"]
    words += ["--set", "min_iterations=1", "--set", "min_seconds=0", "--set", "warmup_seconds=0"]
    assert main.main([*words, "--results", str(tmp_path / "r.db")]) == 0
    told = capsys.readouterr().out
    assert "of the limit:" in told and "measured peak" in told and "GFLOP/s" in told
