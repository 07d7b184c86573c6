"""What a measurement ran under: clocks, throttling and load, before, after and, of a GPU, while it worked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from statistics import median
from threading import Event, Thread
from types import TracebackType
from typing import Any

import torch

from benchmarks.system import environment, nvml
from benchmarks.system.other_work import observed


class Conditions:
    """Reads `environment.conditions` before and after a block and, every `seconds`, a GPU's clocks in between.

    A GPU that has nothing to do lowers its clocks, so only the readings in between say how fast it was. They are made
    by a thread that waits in the driver, where it does not hold Python's lock.

        with Conditions("cuda") as conditions:
            measure()
        conditions.read  # {"before": ..., "during": ..., "after": ..., "others": ...}, for a record

    others: the share of all cores that other work took; None where it is unknown. processes: how many measure
    together; with several, each would count the rest as others, and it stays unknown.
    """

    def __init__(self, device: torch.device | str = "cpu", seconds: float = 0.5, processes: int = 1) -> None:
        self.device, self.seconds, self.processes = torch.device(device), seconds, processes
        self.read: dict[str, Any] = {}
        self.observing = ExitStack()
        self.readings: list[dict[str, Any]] = []
        self.done = Event()
        self.thread = Thread(target=self.watch, daemon=True) if self.device.type == "cuda" else None

    def __enter__(self) -> Conditions:
        self.read["before"] = environment.conditions(self.device)
        if self.thread is not None:
            self.thread.start()
        self.load = self.observing.enter_context(observed())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.observing.close()
        self.read["others"] = self.load.others if self.processes == 1 else None
        self.done.set()
        if self.thread is not None:
            self.thread.join()
            self.read["during"] = summarized(self.readings)
        self.read["after"] = environment.conditions(self.device)

    def watch(self) -> None:
        """Read until the block ends."""
        while not self.done.wait(self.seconds):
            self.readings.append(nvml.clocks(self.device))


def summarized(readings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How many readings; lowest, median and highest of each number; all reasons of throttling that were given."""
    result: dict[str, Any] = {"readings": len(readings)}
    for name in ("sm_mhz", "memory_mhz", "temperature_c", "power_w"):
        values = [reading[name] for reading in readings if reading.get(name) is not None]
        result[name] = {"low": min(values), "median": median(values), "high": max(values)} if values else None
    reasons = {reason for reading in readings for reason in reading.get("throttle_reasons") or ()}
    return {**result, "throttle_reasons": sorted(reasons)}
