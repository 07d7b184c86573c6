"""What NVIDIA's management library knows about a CUDA device. Every function gives {} or None where it is silent."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

MIB = 2**20
THROTTLE_REASONS = {
    "gpu_idle": "nvmlClocksThrottleReasonGpuIdle",
    "application_clocks": "nvmlClocksThrottleReasonApplicationsClocksSetting",
    "software_power_cap": "nvmlClocksThrottleReasonSwPowerCap",
    "hardware_slowdown": "nvmlClocksThrottleReasonHwSlowdown",
    "software_thermal": "nvmlClocksThrottleReasonSwThermalSlowdown",
    "hardware_thermal": "nvmlClocksThrottleReasonHwThermalSlowdown",
    "hardware_power_brake": "nvmlClocksThrottleReasonHwPowerBrakeSlowdown",
}


@contextmanager
def handle(device: torch.device) -> Iterator[tuple[Any, Any]]:
    """(pynvml, device handle); looked up by UUID, since CUDA and NVML may count the devices differently."""
    import pynvml

    pynvml.nvmlInit()
    try:
        uuid = str(torch.cuda.get_device_properties(device).uuid)
        yield pynvml, pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid.removeprefix('GPU-')}".encode())
    finally:
        pynvml.nvmlShutdown()


def ask(device: torch.device, question: Callable[[Any, Any], Any]) -> Any:
    """`question(pynvml, handle)`, None where the library, the driver or the permission is missing."""
    try:
        with handle(device) as (library, gpu):
            return question(library, gpu)
    except Exception:  # NVML's errors differ by driver and version; a missing fact must not end a measurement
        return None


def facts(device: torch.device) -> dict[str, Any]:
    """Driver version, power limit (W) and the highest clocks (MHz)."""
    return {
        "driver": ask(device, lambda lib, gpu: text(lib.nvmlSystemGetDriverVersion())),
        "power_limit_w": ask(device, lambda lib, gpu: lib.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1000),
        "max_sm_mhz": ask(device, lambda lib, gpu: lib.nvmlDeviceGetMaxClockInfo(gpu, lib.NVML_CLOCK_SM)),
        "max_memory_mhz": ask(device, lambda lib, gpu: lib.nvmlDeviceGetMaxClockInfo(gpu, lib.NVML_CLOCK_MEM)),
    }


def clocks(device: torch.device) -> dict[str, Any]:
    """Clocks (MHz), temperature (°C), power (W) and the reasons for throttling, now."""
    return {
        "sm_mhz": ask(device, lambda lib, gpu: lib.nvmlDeviceGetClockInfo(gpu, lib.NVML_CLOCK_SM)),
        "memory_mhz": ask(device, lambda lib, gpu: lib.nvmlDeviceGetClockInfo(gpu, lib.NVML_CLOCK_MEM)),
        "temperature_c": ask(device, lambda lib, gpu: lib.nvmlDeviceGetTemperature(gpu, lib.NVML_TEMPERATURE_GPU)),
        "power_w": ask(device, lambda lib, gpu: lib.nvmlDeviceGetPowerUsage(gpu) / 1000),
        "throttle_reasons": ask(device, throttle_reasons),
    }


def throttle_reasons(library: Any, gpu: Any) -> list[str]:
    """Names of the reasons that hold the clocks down."""
    bits = library.nvmlDeviceGetCurrentClocksThrottleReasons(gpu)
    return [name for name, constant in THROTTLE_REASONS.items() if bits & getattr(library, constant)]


def process_memory_mib(device: torch.device) -> float | None:
    """Device memory of this process as the driver counts it: the CUDA context and every library's buffers included.

    None where the driver cannot tell, as in a container with process ids of its own.
    """

    def used(library: Any, gpu: Any) -> float | None:
        processes = library.nvmlDeviceGetComputeRunningProcesses(gpu)
        own = [p.usedGpuMemory for p in processes if p.pid == os.getpid() and p.usedGpuMemory]
        return own[0] / MIB if own else None

    return ask(device, used)


def text(value: str | bytes) -> str:
    """NVML gives bytes or str, depending on its version."""
    return value.decode() if isinstance(value, bytes) else value
