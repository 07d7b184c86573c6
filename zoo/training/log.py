"""The log of a run: a JSON object a line, with the keys of MMDetection 2.x's `.log.json`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

import torch

from zoo.errors import DataError
from zoo.system.atomic_write import atomic_write


class Step(NamedTuple):
    """One optimizer step. losses: by name, `loss` is their sum. data_seconds: waiting for images."""

    epoch: int
    iteration: int
    losses: dict[str, float]
    learning_rate: float
    data_seconds: float
    seconds: float


class TrainingLog:
    """Appends to a log; means are over the steps since the last line.

    done: iterations that a resumed run has behind it; what the file says of later ones is removed.
    """

    def __init__(self, path: Path, done: int, per_epoch: int) -> None:
        self.path, self.per_epoch = path, per_epoch
        self.pending: list[Step] = []
        lines = path.read_text(encoding="utf-8").splitlines() if done and path.is_file() else []
        kept = [line for line in lines if not self.later(line, done)]
        if not kept:
            kept = [json.dumps({"env_info": f"PyTorch {torch.__version__}", "iterations_per_epoch": per_epoch})]
        atomic_write(path, "".join(line + "\n" for line in kept))

    def later(self, line: str, done: int) -> bool:
        """Whether a line is about an iteration after `done`, or broken off."""
        try:
            row = json.loads(line)
        except ValueError:
            return True
        return bool("epoch" in row and (row["epoch"] - 1) * self.per_epoch + row["iter"] > done)

    def add(self, step: Step) -> None:
        """Note a step for the next line."""
        self.pending.append(step)

    def write(self, device: torch.device) -> None:
        """A line about the steps since the last one."""
        last, steps = self.pending[-1], self.pending
        row: dict[str, Any] = {"mode": "train", "epoch": last.epoch + 1, "iter": self.inside(last)}
        row |= {"lr": last.learning_rate, **peak_memory(device), "data_time": fmean(s.data_seconds for s in steps)}
        row |= {name: fmean(s.losses[name] for s in steps if name in s.losses) for name in last.losses}
        self.append(row | {"time": fmean(s.seconds for s in steps)})
        self.pending = []

    def validated(self, step: Step, metrics: Mapping[str, float]) -> None:
        """A line about an evaluation after `step`."""
        row = {"mode": "val", "epoch": step.epoch + 1, "iter": self.inside(step), "lr": step.learning_rate}
        self.append({**row, **metrics})

    def inside(self, step: Step) -> int:
        """The step's number in its epoch, from 1."""
        return (step.iteration - 1) % self.per_epoch + 1

    def append(self, row: Mapping[str, Any]) -> None:
        """Add a line. Raises DataError where it cannot be written."""
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        except OSError as error:
            raise DataError(f"{self.path} could not be written: {error.strerror}; go on with --resume.") from None


def peak_memory(device: torch.device) -> dict[str, int]:
    """`memory`: the most MiB that tensors held on a GPU. Nothing on a CPU, where that is not counted."""
    return {"memory": int(torch.cuda.max_memory_allocated(device) / 2**20)} if device.type == "cuda" else {}
