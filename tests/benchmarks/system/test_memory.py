from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest
import torch

from benchmarks.system import environment, nvml
from benchmarks.system.memory import MemoryMeter, Trimmer, resident_mib

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
needs_linux = pytest.mark.skipif(not os.path.exists("/proc/self/clear_refs"), reason="the peak cannot be reset here")


@needs_linux
def test_the_peak_on_a_cpu_is_that_of_the_measurement():
    meter = MemoryMeter().start()
    before = meter.read()
    buffer = mmap.mmap(-1, 200 * 2**20)  # given back at once, whatever the process keeps of its heap
    for page in range(0, len(buffer), mmap.PAGESIZE):
        buffer[page] = 1
    peak = meter.read()
    buffer.close()
    assert peak["resident_peak_scope"] == "measurement"
    assert 190 < peak["resident_peak_mib"] - before["resident_peak_mib"] < 300
    assert MemoryMeter().start().read()["resident_peak_mib"] < peak["resident_peak_mib"] - 150


@pytest.mark.skipif(Trimmer().malloc_trim is None, reason="there is no glibc here")
def test_a_heap_full_of_holes_is_given_back_but_not_at_every_call():
    blocks = [bytearray(60_000) for _ in range(2000)]
    del blocks[:-1]  # the last one keeps the heap from shrinking by itself
    before = resident_mib()
    Trimmer(seconds=3600)()
    assert resident_mib() > before - 20
    Trimmer(seconds=0)()
    assert resident_mib() < before - 80


def test_a_fact_that_cannot_be_read_is_none_and_no_error():
    assert nvml.ask(torch.device("cuda"), lambda library, gpu: 1 / 0) is None


def test_the_environment_is_plain_and_names_what_moves_numbers():
    facts = environment.describe()
    assert facts["libraries"]["torch"] == torch.__version__.split("+")[0] or facts["libraries"]["torch"]
    assert facts["host"]["usable_cores"] >= 1 and facts["device"] == facts["host"]["cpu"] and facts["gpu"] is None


def test_a_commit_is_marked_when_the_tree_has_changes(tmp_path):
    assert environment.commit_of(tmp_path) is None
    environment.git(tmp_path, "init", "-q")
    (tmp_path / "file").write_text("1")
    environment.git(tmp_path, "add", "file")
    environment.git(tmp_path, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "first")
    clean = environment.commit_of(tmp_path)
    (tmp_path / "file").write_text("2")
    assert clean is not None and environment.commit_of(tmp_path) == clean + "+"


@needs_cuda
def test_the_three_numbers_of_a_gpu_are_in_order():
    meter = MemoryMeter("cuda").start()
    tensor = torch.empty(64 * 2**20, dtype=torch.uint8, device="cuda")
    peak = meter.read()
    del tensor
    assert 64 <= peak["cuda_allocated_mib"] <= peak["cuda_reserved_mib"]
    assert peak["nvml_process_mib"] is None or peak["nvml_process_mib"] > peak["cuda_reserved_mib"]


@needs_cuda
def test_a_gpu_says_its_clocks_and_its_driver():
    assert environment.describe("cuda")["gpu"]["driver"]
    assert "throttle_reasons" in environment.conditions("cuda")


@needs_linux
@pytest.mark.parametrize("whose", ["benchmarks.system.memory", "benchmarks.speed.peers.workers.serve"])
def test_the_peak_of_a_process_is_not_that_of_the_larger_one_that_started_it(whose):
    """Linux hands what getrusage calls the maximum resident size on to whatever a process starts."""
    large = bytearray(b"1") * (1500 * 2**20)
    code = f"from {whose} import resident_peak_mib; print(resident_peak_mib())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 5 < float(child.stdout) < 1000 < resident_mib() and len(large)
