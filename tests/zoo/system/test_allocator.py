"""A process keeps the memory that it frees once it is told to, and hands this on to the processes that it starts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from zoo.system import allocator

FAULTS = """
import resource, sys
import torch
from zoo.system import allocator
if sys.argv[1:] == ["keep"]:
    assert allocator.keep_memory() and allocator.keeps_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    [torch.ones(20 << 18) for _ in range(8)]  # of 20 MiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(30)][-1])  # the heap takes some rounds to settle
"""
# Tensors above 128 KiB get pages of their own, whatever was freed before.
RETURNING = {"MALLOC_MMAP_THRESHOLD_": str(1 << 17)}
GLIBC = hasattr(os, "confstr") and "CS_GNU_LIBC_VERSION" in os.confstr_names
glibc = pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")


def faults(*arguments: str, variables: Mapping[str, str] | None = None) -> int:
    """Page faults of eight tensors of 20 MiB that live together, after as many were freed 29 times."""
    told = subprocess.run(
        [sys.executable, "-c", FAULTS, *arguments],
        env={**os.environ, "THP_MEM_ALLOC_ENABLE": "0", **(variables or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    return int(told.stdout)


@glibc
def test_tensors_take_the_memory_of_freed_ones_without_page_faults() -> None:
    assert faults(variables=RETURNING) > 40_000 and faults("keep", variables=RETURNING) < 100


@glibc
def test_the_variables_do_the_same_for_a_process_that_is_started(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator, "_kept", True)
    assert faults(variables=RETURNING | allocator.variables()) < 100
    monkeypatch.setattr(allocator, "_kept", False)
    assert allocator.variables() == {}


def test_a_c_library_without_the_setting_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    assert not allocator.keep_memory() and not allocator.keeps_memory()


@pytest.mark.parametrize(("value", "kept"), [("", "True"), ("1", "False")])
@glibc
def test_commands_keep_memory_unless_they_are_told_to_return_it(value: str, kept: str) -> None:
    script = (
        "from zoo.cli.main import main; from zoo.system.allocator import keeps_memory; main(); print(keeps_memory())"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, "list", "--json", "--family", "yolox"],
        env={**os.environ, "ZOO_RETURN_MEMORY": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.split()[-1] == kept


def test_main_called_by_other_code_leaves_its_process_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    from zoo.cli.main import main

    assert main(["list", "--family", "yolox"]) == 0 and not allocator.keeps_memory()
