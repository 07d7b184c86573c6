"""What `torch.cuda` says of a device that is not there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

MIB = 2**20
# Memory: nothing is measured.
MEMORY = {
    "max_memory_allocated": 100 * MIB,
    "max_memory_reserved": 120 * MIB,
    "memory_allocated": 50 * MIB,
    "memory_reserved": 120 * MIB,
}


class Properties:
    """Of a large GPU."""

    name, major, minor, total_memory, uuid = "Pretend GPU", 9, 0, 80 * 2**30, "12345678-0000-0000-0000-000000000000"
    multi_processor_count = 132


def functions(note: Callable[[str], None]) -> dict[str, Any]:
    """The functions and classes of `torch.cuda` by name. note: takes a word when the host waits."""

    def synchronize(device: Any = None) -> None:
        note("synchronize")

    class Event:
        def __init__(self, enable_timing: bool = False, **_: Any) -> None:
            self.at: float | None = None

        def record(self, stream: Any = None) -> None:
            self.at = time.perf_counter()

        def synchronize(self) -> None:
            synchronize()

        def elapsed_time(self, other: Any) -> float:
            return (other.at - self.at) * 1000

    return {**state(), **memory(), "synchronize": synchronize, "Event": Event}


def state() -> dict[str, Any]:
    """That there is one device, which one it is, and its random numbers."""
    random = torch.zeros(16, dtype=torch.uint8)
    return {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "_lazy_init": lambda: None,
        "is_initialized": lambda: False,
        "set_device": lambda device: None,
        "get_device_name": lambda device=None: Properties.name,
        "get_device_properties": lambda device=None: Properties(),
        "get_device_capability": lambda device=None: (Properties.major, Properties.minor),
        "is_bf16_supported": lambda including_emulation=True: True,
        "current_stream": lambda device=None: None,
        "get_rng_state": lambda device="cuda": random,
        "set_rng_state": lambda new, device="cuda": None,
    }


def memory() -> dict[str, Any]:
    """The functions that tell memory, and those that reset it."""
    told = {name: lambda device=None, amount=amount: amount for name, amount in MEMORY.items()}
    return {**told, "reset_peak_memory_stats": lambda device=None: None, "empty_cache": lambda: None}
