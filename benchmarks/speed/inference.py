"""Inference speed, memory and size of a network: one call, one record.

record = inference.measure(zoo.load("yolox_s_8x8_300e_coco"), "yolox_s_8x8_300e_coco", images)
Store().append(record)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from benchmarks.results import agreement, fingerprint
from benchmarks.results.record import Record
from benchmarks.speed import complexity, protocols
from benchmarks.speed import optimizations as speedups
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.options import Options
from benchmarks.speed.protocols import interleaved
from benchmarks.speed.roofline import limit
from benchmarks.speed.workload import DetectorWorkload, ImageSource
from benchmarks.system import environment
from benchmarks.system.conditions import Conditions
from benchmarks.system.memory import MemoryMeter, release
from zoo.errors import UsageError
from zoo.export.runtimes import ExportedDetector

# The comparison of an option with the plain network is a side show: fewer calls than the measurement itself.
EFFECT_BATCHES = 4
EFFECT = {"min_iterations": 12, "min_seconds": 0.0, "max_seconds": 60.0, "warmup_seconds": 20.0}


def measure(
    model: nn.Module,
    name: str,
    images: Sequence[ImageSource],
    setting: BenchmarkConfig | None = None,
    source: Mapping[str, Any] | None = None,
    **facts: Any,
) -> Record:
    """Measure `model` under `setting` and say so in a record.

    images: files, or BGR uint8 arrays. source: what a reader must know about weights and images, for the record's
    parameters. facts: further fields of the record (`checkpoint`, `manifest`).
    """
    setting = setting or BenchmarkConfig()
    if setting.roofline and hasattr(model, "original"):
        raise UsageError("--roofline sees the layers of networks that PyTorch runs, not those of other runtimes.")
    protocol = protocols.get(setting.protocol)
    with thread_count(setting.threads), environment.float32_as(setting.tf32):
        release(setting.device)
        fast = workload_of(model.eval(), images, setting, setting.options)
        memory = MemoryMeter(setting.device).start()
        with Conditions(setting.device) as conditions:
            measured = protocols.run(protocol, fast, setting.device, setting.repeat, setting.overrides)
        metrics = {**measured.metrics, **memory.read(), **size(model, images, setting)}
        if setting.effects and setting.options.chosen():
            metrics["effects"] = effects(model, images, setting)
        if setting.roofline:
            metrics["limit"] = limit.of(workload_of(model, images, setting)).to_dict()
        return Record(
            model=name,
            kind="inference",
            protocol=protocol.name,
            parameters=describe(protocol, setting, fast, source or {}),
            metrics={**metrics, "images": measured.images},
            samples={**measured.samples, fingerprint.SAMPLES: fingerprint.flatten(fast.compute(fast.load(0)))},
            environment=environment.describe(setting.device),
            conditions=conditions.read,
            **facts,
        )


@contextmanager
def thread_count(threads: int | None) -> Iterator[None]:
    """PyTorch with so many threads for a while; None leaves them."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def workload_of(
    model: nn.Module, images: Sequence[ImageSource], setting: BenchmarkConfig, options: Options | None = None
) -> DetectorWorkload:
    """The network on its images; with options a copy of it, so that peaks of memory do not count the plain one."""
    options, device = options or Options(), torch.device(setting.device)
    fast = speedups.apply(model, options).to(device)
    return DetectorWorkload(fast, images, device, setting.batch, options.precision, options.channels_last)


def size(model: nn.Module, images: Sequence[ImageSource], setting: BenchmarkConfig) -> dict[str, Any]:
    """Parameters, and operations for the first image at its input size, of the network without options."""
    if isinstance(model, ExportedDetector):
        return size_of_file(model)
    workload = DetectorWorkload(model.to(setting.device), images[:1], torch.device(setting.device))
    batch = workload.load(0)
    return {
        "parameters": complexity.parameters(model),
        "flops": complexity.flops(workload, batch),
        "flops_input": list(batch.images.shape[2:]),
    }


def size_of_file(model: ExportedDetector) -> dict[str, Any]:
    """What an exported file says about the size of its network, and its own."""
    if (artifact := model.artifact) is None:
        return {}
    facts = artifact.facts
    return {
        "parameters": facts.parameters,
        "flops": facts.flops,
        "flops_input": facts.flops_input,
        "artifact_bytes": artifact.bytes,
    }


def describe(
    protocol: protocols.Protocol, setting: BenchmarkConfig, workload: DetectorWorkload, source: Mapping[str, Any]
) -> dict[str, Any]:
    """Everything that was chosen, as a record's parameters."""
    return {
        **protocol.describe(protocol.parameters(setting.overrides)),
        "batch": setting.batch,
        "repeat": setting.repeat,
        "precision": setting.options.amp or setting.float32,
        "options": setting.options.chosen(),
        "resolution": resolution(workload),
        **source,
        **artifact_of(workload.model),
    }


def artifact_of(model: Any) -> dict[str, Any]:
    """What a record says about the exported file that was run, and about what ran it; nothing for a network."""
    if not isinstance(model, ExportedDetector) or model.artifact is None:
        return {}
    file = model.artifact.to_record()
    told = {"runtime": model.runtime, "runtime_version": model.runtime_version, "artifact": file}
    return told | {"precision": file["precision"]}


def resolution(workload: DetectorWorkload) -> dict[str, int]:
    """Input shapes 'height x width' and how many of the first batches have each."""
    shapes = (workload.load(i).images.shape[2:] for i in range(min(len(workload), 8)))
    return dict(Counter(f"{height}x{width}" for height, width in shapes))


def effects(model: nn.Module, images: Sequence[ImageSource], setting: BenchmarkConfig) -> dict[str, dict[str, Any]]:
    """Of each option alone, and of all together: speed and detections against the plain network, on a few images."""
    chosen = images[: EFFECT_BATCHES * setting.batch]
    plain = workload_of(model, chosen, setting)
    return {
        name: effect(plain, workload_of(model, chosen, setting, options))
        for name, options in setting.options.single().items()
    }


def effect(plain: DetectorWorkload, fast: DetectorWorkload) -> dict[str, Any]:
    """fps of both from one interleaved run, speed-up with confidence interval, and the agreement of the detections."""
    timed = interleaved.compare({"plain": plain, "option": fast}, plain.device, EFFECT)
    want, have = (detect(workload) for workload in (plain, fast))
    speed = {name: timed["option"].metrics[name] for name in ("fps", "speedup", "speedup_low", "speedup_high")}
    speed |= {"plain_fps": timed["plain"].metrics["fps"], "samples": len(timed["option"].samples["latency_s"])}
    return speed | asdict(agreement.compare(want, have))


def detect(workload: DetectorWorkload) -> list[Any]:
    """Detections of all images of a workload."""
    return [result for i in range(len(workload)) for result in workload.compute(workload.load(i))]
