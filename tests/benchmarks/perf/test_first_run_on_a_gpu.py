"""Faults that a first run on a GPU would have shown, of those that have no test beside what they are about.

Elsewhere: weights that `detect` moved (models/detectors/test_moving), waits (models/test_hot_path, test_pretend_cuda),
the switches of TF32 (system/test_precision), memories of losses (criteria/test_state), a failing rank and the largest
peak (speed/test_training), NVML (system/test_nvml, test_conditions), and `mps` and `xpu` (zoo/system/test_device).
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
import torch
import torch.distributed as dist

from benchmarks.perf.pretended_device import PretendCuda
from benchmarks.results.baseline import DECIDING
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.peers.torchvision import TorchvisionDetector
from benchmarks.system.memory import MemoryMeter
from zoo.structures import ImageGeometry
from zoo.training import distributed


def test_each_process_takes_its_own_gpu_and_waits_longer_than_nccl(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    for name, value in (("WORLD_SIZE", "2"), ("RANK", "1"), ("LOCAL_RANK", "1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(distributed, "usable_device", torch.device)
    monkeypatch.setattr(torch.cuda, "set_device", asked.append)
    monkeypatch.setattr(dist, "init_process_group", lambda kind, timeout: asked.append((kind, timeout)))
    place = distributed.join("cuda")
    assert place.device == torch.device("cuda", 1) and asked[0] == place.device
    assert asked[1][0] == "nccl" and asked[1][1] > timedelta(hours=1)


def test_speed_is_measured_as_accuracy_is_unless_tf32_is_asked_for() -> None:
    assert (BenchmarkConfig().float32, BenchmarkConfig(tf32=True).float32) == ("fp32", "tf32")
    assert "precision" in DECIDING


def test_memory_is_given_back_before_its_peak_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    with PretendCuda():
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: done.append("empty"))
        monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: done.append("reset"))
        read = MemoryMeter("cuda").start().read()
        monkeypatch.undo()
    assert done == ["empty", "reset"]
    assert read == {"cuda_allocated_mib": 100, "cuda_reserved_mib": 120, "nvml_process_mib": None}


def test_results_of_torchvision_are_converted_without_waiting() -> None:
    model = TorchvisionDetector("fasterrcnn_mobilenet_v3_large_320_fpn", None)
    geometry = ImageGeometry((128, 160), (128, 160), (1.0, 1.0))
    with PretendCuda() as gpu, torch.inference_mode():
        with torch.inference_mode(False):
            model = model.to("cuda")
        images = torch.rand(1, 3, 128, 160).to("cuda")
        gpu.clear()
        model.predict(images, [geometry])
    assert gpu.waits and not [place for (_, place) in gpu.waits if place.endswith("converted")]
