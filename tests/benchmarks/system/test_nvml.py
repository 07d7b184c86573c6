"""Facts of NVML: of MIG slices and their board, of all contexts of a process, and None where it is silent."""

from __future__ import annotations

import os
from types import SimpleNamespace

import pytest
import torch

from benchmarks.system import nvml

DEVICE = torch.device("cpu")  # only handed on


class FakeError(Exception):
    """What the library raises."""


class Library(SimpleNamespace):
    """A machine whose CUDA device is a MIG slice; the library names one reason of throttling only."""

    NVMLError = FakeError
    nvmlClocksThrottleReasonGpuIdle = 1

    def nvmlDeviceGetHandleByUUID(self, uuid: bytes) -> str:
        if uuid != b"MIG-1234":
            raise FakeError
        return "slice"

    def nvmlDeviceGetDeviceHandleFromMigDeviceHandle(self, handle: str) -> str:
        return {"slice": "board"}[handle]

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, handle: str) -> int:
        assert handle == "board"
        return 3

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[SimpleNamespace]:
        assert handle == "slice"
        own = os.getpid()
        rows = [(own, 2**20), (own, 2**21), (own + 1, 2**22), (own, None)]
        return [SimpleNamespace(pid=pid, usedGpuMemory=size) for pid, size in rows]

    def nvmlSystemGetDriverVersion(self) -> bytes:
        return b"580.1"


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "library", Library)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1234"))


@pytest.mark.usefixtures("library")
def test_all_contexts_of_the_process_count_and_no_others() -> None:
    assert nvml.process_memory_mib(DEVICE) == 3


@pytest.mark.usefixtures("library")
def test_clocks_are_those_of_the_board_and_unknown_reasons_are_left_out() -> None:
    assert nvml.clocks(DEVICE)["throttle_reasons"] == ["gpu_idle"]


def test_the_driver_has_a_version_without_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvml, "library", Library)
    assert nvml.driver() == "580.1" and nvml.facts(DEVICE)["max_sm_mhz"] is None
