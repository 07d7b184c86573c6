"""What NVIDIA's management library knows about a CUDA device. Every function gives {} or None where it is silent."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable
from functools import cache
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


@cache
def library() -> Any:
    """pynvml, initialized once for the process. Raises where the library or the driver is missing."""
    import pynvml

    pynvml.nvmlInit()
    atexit.register(pynvml.nvmlShutdown)
    return pynvml


def handle(device: torch.device) -> Any:
    """NVML's handle of a CUDA device, looked up by UUID, since CUDA and NVML may count the devices differently.

    A MIG slice is found under its own UUID.
    """
    uuid = str(torch.cuda.get_device_properties(device).uuid)
    digits = uuid.removeprefix("GPU-").removeprefix("MIG-")
    try:
        return library().nvmlDeviceGetHandleByUUID(f"GPU-{digits}".encode())
    except library().NVMLError:
        return library().nvmlDeviceGetHandleByUUID(f"MIG-{digits}".encode())


def board(device: torch.device) -> Any:
    """The handle of the whole board, which has the clocks and the power, for a MIG slice too."""
    own = handle(device)
    try:
        return library().nvmlDeviceGetDeviceHandleFromMigDeviceHandle(own)
    except (AttributeError, library().NVMLError):  # no slice, or a library that knows none
        return own


def ask(device: torch.device, question: Callable[[Any, Any], Any], of: Callable[[torch.device], Any] = board) -> Any:
    """`question(pynvml, handle)`, None where the library, the driver or the permission is missing."""
    try:
        return question(library(), of(device))
    except Exception:  # NVML's errors differ by driver and version; a missing fact must not end a measurement
        return None


def driver() -> str | None:
    """The driver's version, which needs no device; None where there is none."""
    try:
        return text(library().nvmlSystemGetDriverVersion())
    except Exception:
        return None


def facts(device: torch.device) -> dict[str, Any]:
    """Driver version, power limit (W) and the highest clocks (MHz)."""
    return {
        "driver": driver(),
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
    # Versions of the library differ in the reasons that they name.
    return [name for name, constant in THROTTLE_REASONS.items() if bits & getattr(library, constant, 0)]


def process_memory_mib(device: torch.device) -> float | None:
    """Device memory of this process as the driver counts it: the CUDA context and every library's buffers included.

    None where the driver cannot tell, as in a container with process ids of its own.
    """

    def used(library: Any, gpu: Any) -> float | None:
        processes = library.nvmlDeviceGetComputeRunningProcesses(gpu)
        own = [p.usedGpuMemory for p in processes if p.pid == os.getpid() and p.usedGpuMemory]
        return sum(own) / MIB if own else None  # a process is listed once for each of its contexts

    return ask(device, used, handle)


def text(value: str | bytes) -> str:
    """NVML gives bytes or str, depending on its version."""
    return value.decode() if isinstance(value, bytes) else value
