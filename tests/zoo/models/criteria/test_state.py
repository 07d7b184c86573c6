"""What losses remember goes into a checkpoint from any device."""

from __future__ import annotations

import torch
from torch import nn

from zoo.models.criteria.state import load_loss_states, loss_states, memory_of, on_cpu


def test_memories_are_copies_and_come_back() -> None:
    model = nn.Sequential(nn.Identity())
    memory_of(model[0])["counts"] = torch.ones(2)
    memory_of(model[0])["cls"] = {"positives": torch.zeros(1), "epoch": [1, 2]}
    saved = loss_states(model)
    memory_of(model[0])["counts"] += 1
    assert saved["0"]["counts"].tolist() == [1, 1]
    load_loss_states(model, saved)
    assert memory_of(model[0])["counts"].tolist() == [1, 1] and memory_of(model[0])["cls"]["epoch"] == [1, 2]


def test_tensors_of_a_gpu_are_not_sent_to_other_processes() -> None:
    from benchmarks.perf.pretended_device import PretendCuda

    with PretendCuda():
        moved = torch.ones(3).to("cuda")
        assert moved.device.type == "cuda" and on_cpu({"a": [1], "b": {"c": moved}})["b"]["c"].device.type == "cpu"
