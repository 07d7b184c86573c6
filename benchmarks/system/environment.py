"""What a measurement ran on: stable facts (`describe`), and those that drift from moment to moment (`conditions`)."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from benchmarks.system import nvml
from zoo.system import allocator

LIBRARIES = ("torch", "torchvision", "numpy", "opencv-python-headless", "Pillow", "pycocotools", "detection-zoo")
MIB = 2**20


def describe(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Hardware, driver, library versions, thread counts, numeric switches and commit, as plain data."""
    device = torch.device(device)
    return {
        "device": device_name(device),
        "device_type": device.type,
        "host": host(),
        "gpu": gpu(device),
        "python": platform.python_version(),
        "libraries": libraries(),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "numerics": numerics(),
        "keeps_memory": allocator.keeps_memory(),
        "threads": {"intra_op": torch.get_num_threads(), "inter_op": torch.get_num_interop_threads()},
        "commit": commit(),
    }


def device_name(device: torch.device | str) -> str:
    """The device's commercial name, such as 'NVIDIA H100 80GB HBM3' or 'AMD EPYC'."""
    device = torch.device(device)
    return torch.cuda.get_device_name(device) if device.type == "cuda" else str(host()["cpu"])


def devices_here() -> list[str]:
    """The names of this machine's devices: GPUs, then the processor."""
    return [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] + [str(host()["cpu"])]


# Variables that hold libraries to fewer instructions than the processor has.
INSTRUCTION_LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_ENABLE_INSTRUCTIONS")
MACHINE_IDS = ("/etc/machine-id", "/var/lib/dbus/machine-id")


@lru_cache
def host() -> dict[str, Any]:
    """The machine: processor, instructions, cores this process may use, memory (MiB), system, and which one it is."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // MIB
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": processor(),
        "cores": os.cpu_count(),
        "usable_cores": cpus,
        "vector_units": torch.backends.cpu.get_cpu_capability(),
        "held_to": {name: os.environ[name] for name in INSTRUCTION_LIMITS if os.environ.get(name)},
        "memory_mib": memory,
        "system": platform.platform(),
        "machine": identity(),
    }


def identity() -> str:
    """A digest that tells this machine from others: of the node's name that a cluster hands on, or of the system's id.

    Results of many machines in one store stay apart by it, and nobody reads a name out of it.
    """
    own = next((text for path in MACHINE_IDS if (text := read_text(path))), platform.node())
    return sha256((os.environ.get("NODE_NAME") or own).encode()).hexdigest()[:12]


def read_text(path: str) -> str:
    """A small file's text without space around it, empty where there is none."""
    try:
        return Path(path).read_text(errors="replace").strip()
    except OSError:
        return ""


def processor() -> str:
    """The processor's name."""
    return field_of("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()


def field_of(path: str, name: str) -> str | None:
    """The first `name : value` line of a file under /proc, None where there is none."""
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return None
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(name) and ":" in line), None)


def gpu(device: torch.device) -> dict[str, Any] | None:
    """Name, memory, compute capability, driver and power limit of a CUDA device; None for a CPU."""
    if device.type != "cuda":
        return None
    properties = torch.cuda.get_device_properties(device)
    facts = {
        "name": properties.name,
        "memory_mib": properties.total_memory // MIB,
        "compute_capability": f"{properties.major}.{properties.minor}",
    }
    return facts | nvml.facts(device)


@lru_cache
def libraries() -> dict[str, str]:
    """Installed versions of the libraries that move speed or accuracy."""
    result = {}
    for name in LIBRARIES:
        try:
            result[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return result


def numerics() -> dict[str, Any]:
    """The switches that trade precision for speed."""
    return {
        "tf32_matmul": torch.backends.cuda.matmul.fp32_precision == "tf32",
        "tf32_cudnn": torch.backends.cudnn.conv.fp32_precision == "tf32",  # type: ignore[attr-defined]
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }


@contextmanager
def float32_as(tf32: bool) -> Iterator[None]:
    """How a GPU multiplies float32: TF32 for matrix products and convolutions, or neither.

    PyTorch's own default has TF32 on for convolutions only. The switches are those of PyTorch 2.9 and later; reading
    the older ones fails once these are set.
    """
    switches: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn.conv)  # type: ignore[attr-defined]
    before = [switch.fp32_precision for switch in switches]
    for switch in switches:
        switch.fp32_precision = "tf32" if tf32 else "ieee"
    try:
        yield
    finally:
        for switch, precision in zip(switches, before):
            switch.fp32_precision = precision


def full_precision() -> AbstractContextManager[None]:
    """TF32 off: it moves scores by up to 1e-3, published numbers were measured without."""
    return float32_as(tf32=False)


@lru_cache
def commit() -> str | None:
    """Commit of this source tree, with `+` when it has changes; None outside a checkout."""
    return commit_of(Path(__file__).resolve().parents[2])


def commit_of(folder: Path) -> str | None:
    """Commit of the checkout whose root is `folder`, with `+` when tracked files changed."""
    if not (folder / ".git").exists():
        return None
    try:
        head = git(folder, "rev-parse", "--short=12", "HEAD")
        return head + ("+" if git(folder, "status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def git(folder: Path, *arguments: str) -> str:
    """What a git command prints."""
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()


def conditions(device: torch.device | str = "cpu") -> dict[str, Any]:
    """Clocks, throttling, temperature and load right now, as far as they can be read."""
    device = torch.device(device)
    mhz = field_of("/proc/cpuinfo", "cpu MHz")
    facts: dict[str, Any] = {
        "cpu_mhz": float(mhz) if mhz else None,
        "load_1min": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }
    return facts | (nvml.clocks(device) if device.type == "cuda" else {})
