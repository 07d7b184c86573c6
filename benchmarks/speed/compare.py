"""One detector in several implementations, in turns: same images, same protocol, same weights where possible."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import Any

import torch

from benchmarks.results.record import Record
from benchmarks.speed import inference
from benchmarks.speed.compare_config import CompareConfig
from benchmarks.speed.compare_records import Results, record, unavailable_record
from benchmarks.speed.contestants import Contestant, gather
from benchmarks.speed.peers import counterparts
from benchmarks.speed.peers.counterparts import NoCounterpart
from benchmarks.speed.peers.external import ExternalWorkload, PeerError
from benchmarks.speed.protocols import interleaved
from benchmarks.speed.workload import Workload
from benchmarks.system import environment
from benchmarks.system.conditions import Conditions


def run(request: CompareConfig) -> list[Record]:
    """A record for our network, for ours with options if any are on, and for each peer.

    All have the same weights: those of the file, or random ones. A peer that is not to be had, has no such detector, or
    fails on the way gives a record that says so, with what it published. Raises UsageError for an unknown peer.
    """
    for peer in request.against:
        with suppress(NoCounterpart):
            counterparts.counterpart(request.name, peer)
    with ExitStack() as stack:
        stack.enter_context(inference.thread_count(request.setting.threads))
        stack.enter_context(environment.float32_as(request.setting.tf32))
        contestants, unavailable = gather(request, stack)
        results = measure(request, contestants, unavailable)
        memory = {name: peak_memory(one) if request.memory else {} for name, one in contestants.items()}
        return [
            *(record(request, name, contestants, results, memory[name]) for name in contestants),
            *(unavailable_record(request, peer, reason) for peer, reason in unavailable.items()),
        ]  # fmt: skip


def measure(request: CompareConfig, contestants: dict[str, Contestant], unavailable: dict[str, str]) -> Results:
    """All of them in turns; a peer that fails leaves the others, which are measured again without it."""
    device = request.setting.device
    while True:
        workloads = {name: contestant.workload for name, contestant in contestants.items()}
        try:
            result = {name: detections(workload) for name, workload in workloads.items()}
            with Conditions(device) as conditions:
                measured = interleaved.compare(workloads, torch.device(device), request.setting.overrides)
            return Results(measured, result, conditions.read)
        except PeerError as error:
            failed = next(n for n, w in workloads.items() if isinstance(w, ExternalWorkload) and w.peer in str(error))
            contestants.pop(failed)
            unavailable[failed] = str(error)


def detections(workload: Workload, batches: int = 4) -> list[Any]:
    """What is found in the first images."""
    return [result for i in range(min(batches, len(workload))) for result in workload.compute(workload.load(i))]


def peak_memory(contestant: Contestant) -> dict[str, float]:
    """Peaks of a process with this network alone, in MiB; nothing where it cannot be told."""
    try:
        if isinstance(contestant.workload, ExternalWorkload):
            return contestant.workload.memory()
        if contestant.process is None:
            return {}
        workload = contestant.process()
        try:
            detections(workload, 2)
            return workload.memory()
        finally:
            workload.close()
    except PeerError:
        return {}
