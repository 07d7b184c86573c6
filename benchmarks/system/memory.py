"""Peak memory, in MiB. Several numbers that mean different things, never summed.

CUDA: `cuda_allocated_mib` is what tensors held (the zoo's published training memory is this one),
`cuda_reserved_mib` what PyTorch's allocator took from the driver for them, `nvml_process_mib` what the driver says the
process has, with the CUDA context (0.5 to 1 GB) in it. CPU: `resident_peak_mib` is the process's peak resident size.
"""

from __future__ import annotations

import ctypes
import gc
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.system import nvml
from benchmarks.system.environment import field_of

MIB = 2**20


class MemoryMeter:
    """Peak memory between `start` and `read`."""

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.since_start = False

    def start(self) -> MemoryMeter:
        """Forget earlier peaks."""
        if self.device.type == "cuda":
            release(self.device)
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            self.since_start = reset_resident_peak()
        return self

    def read(self) -> dict[str, Any]:
        """Peaks since `start`. `resident_peak_scope` says if the system let the process forget earlier peaks."""
        if self.device.type == "cuda":
            return cuda_peaks(self.device)
        return {
            "resident_peak_mib": resident_peak_mib(),
            "resident_peak_scope": "measurement" if self.since_start else "process",
        }


def release(device: torch.device | str) -> None:
    """Give back what earlier models left in the allocator's cache of a GPU; nothing on a CPU.

    To be called before a network moves there: its weights would take a part of a cached segment, which then stays.
    """
    device = torch.device(device)
    if device.type == "cuda":
        gc.collect()
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()


def cuda_peaks(device: torch.device) -> dict[str, Any]:
    """The three numbers of a CUDA device; NVML's is read now: the allocator gives nothing back, so now is the peak."""
    torch.cuda.synchronize(device)
    return {
        "cuda_allocated_mib": torch.cuda.max_memory_allocated(device) / MIB,
        "cuda_reserved_mib": torch.cuda.max_memory_reserved(device) / MIB,
        "nvml_process_mib": nvml.process_memory_mib(device),
    }


def reset_resident_peak() -> bool:
    """Ask Linux to start the peak anew (proc(5), clear_refs); False where it refuses."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def resident_peak_mib() -> float:
    """Peak resident size, on Linux since the last reset.

    getrusage's never falls, and on Linux begins with that of the process that started this one.
    """
    if peak := field_of("/proc/self/status", "VmHWM"):
        return int(peak.split()[0]) / 1024
    unit = 1 if sys.platform == "darwin" else 1024  # getrusage counts bytes on macOS, KiB on Linux
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def resident_mib() -> float:
    """Resident size now (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MIB


class Trimmer:
    """Gives freed memory back to the system, at most every so many seconds, where glibc is the C library.

    Images of different sizes leave holes of many megabytes in its heap, which it keeps.
    """

    def __init__(self, seconds: float = 10.0) -> None:
        library = ctypes.CDLL(None) if sys.platform == "linux" else None
        self.malloc_trim = getattr(library, "malloc_trim", None)
        self.seconds, self.last = seconds, time.monotonic()

    def __call__(self) -> None:
        """To be called often."""
        now = time.monotonic()
        if self.malloc_trim is not None and now - self.last >= self.seconds:
            self.malloc_trim(0)
            self.last = now
