"""A GPU's clocks are read while it works, by a thread that ends with the measurement."""

from __future__ import annotations

import threading
import time

import pytest
import torch

from benchmarks.system import conditions, environment
from benchmarks.system.conditions import Conditions


def test_a_cpu_is_read_before_and_after_and_no_thread_is_started() -> None:
    before = threading.active_count()
    with Conditions("cpu") as read:
        assert threading.active_count() == before
    assert set(read.read) == {"before", "after", "others"}


def test_what_other_work_took_is_unknown_where_several_processes_measure_together() -> None:
    with Conditions("cpu", processes=2) as read:
        pass
    assert read.read["others"] is None


def test_the_clocks_of_a_gpu_are_those_in_between(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = iter([{"sm_mhz": 1500, "power_w": None, "throttle_reasons": ["gpu_idle"]}, *[{"sm_mhz": 1980}] * 1000])
    monkeypatch.setattr(conditions.nvml, "clocks", lambda device: next(clocks))
    monkeypatch.setattr(environment, "conditions", lambda device: {"sm_mhz": 345})
    with Conditions(torch.device("cuda"), seconds=0.001) as read:
        while len(read.readings) < 5:
            time.sleep(0.001)
    assert read.thread is not None and not read.thread.is_alive()
    during = read.read["during"]
    assert during["sm_mhz"] == {"low": 1500, "median": 1980, "high": 1980} and during["power_w"] is None
    assert during["throttle_reasons"] == ["gpu_idle"] and read.read["before"]["sm_mhz"] == 345


def test_a_failed_measurement_ends_the_thread_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conditions.nvml, "clocks", lambda device: {})
    monkeypatch.setattr(environment, "conditions", lambda device: {})
    with pytest.raises(ValueError, match="no more"), Conditions(torch.device("cuda"), seconds=0.001) as read:
        raise ValueError("no more")
    assert read.thread is not None and not read.thread.is_alive()
