"""Networks as other runtimes run them, and exported files, under the same protocols."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.speed import targets
from benchmarks.speed.config import AUTO
from benchmarks.speed.targets import Target
from zoo.errors import UsageError
from zoo.export import artifact as artifacts
from zoo.export.formats import NATIVE, RUNTIMES, existing, means_exported, runtime_of

if TYPE_CHECKING:
    from zoo.export.runtimes import ExportedDetector
    from zoo.models.detectors.base import Detector

__all__ = ["choose", "exported", "of_file", "on_the_way"]

# The image that a graph is traced with; its size does not matter for graphs of free size.
EXAMPLE = (480, 640)


def choose(
    names: Sequence[str],
    checkpoint: str | None,
    random_weights: bool,
    runtime: str | None,
    threads: int | None,
    device: str = "cpu",
) -> list[Target]:
    """What `targets.choose` chooses, as the runtime runs it. Files of `zoo export` may be among the names.

    runtime: None runs networks with PyTorch, and files with what is usual for their format; "auto" runs networks with
    what is fastest. Raises UsageError for a file that the runtime cannot run.
    """
    files = [name for name in names if means_exported(name)]
    others = [name for name in names if name not in files]
    chosen = targets.choose(others, checkpoint, random_weights) if others or not files else []
    if runtime == AUTO:
        if files or device != "cpu":
            raise UsageError("--runtime auto is for networks on a CPU; name a runtime for exported files and for GPUs.")
        return [fastest(target, threads) for target in chosen]
    if runtime not in (None, "torch"):
        chosen = [on_the_way(target, str(runtime), threads, device) for target in chosen]
    return chosen + [of_file(Path(name), runtime, threads, device) for name in files]


def of_file(path: Path, runtime: str | None = None, threads: int | None = None, device: str = "cpu") -> Target:
    """An exported file. Raises ZooError, UsageError for one that cannot be run or does not say what it is."""
    runtime = runtime_of(existing(path), runtime)
    artifact = artifacts.read(path)

    def load() -> Any:
        from zoo.export import runtimes

        return runtimes.opened(artifact, runtime, threads, device)

    parameters = {"runtime": runtime, "artifact": artifact.to_record()}
    facts = artifact.facts
    return Target(facts.model, path.name, load, {"checkpoint": facts.source}, parameters, facts.dataset)


def on_the_way(target: Target, runtime: str, threads: int | None = None, device: str = "cpu") -> Target:
    """A network, exported to a temporary file when it is loaded, and run by a runtime."""

    def load() -> Any:
        return exported(target.load(), target, runtime, threads, device)

    return replace(target, load=load, parameters={**target.parameters, "runtime": runtime})


def fastest(target: Target, threads: int | None = None) -> Target:
    """A network in the runtime that is fastest here; which one is known, and recorded, once it is loaded."""
    parameters: dict[str, Any] = {**target.parameters, "runtime": AUTO}

    def load() -> Any:
        from benchmarks.speed import auto_runtime
        from benchmarks.speed.images import generated
        from benchmarks.speed.inference import thread_count

        model = target.load()
        with thread_count(threads):
            name, detector, took = auto_runtime.fastest(
                model,
                lambda runtime: exported(model, target, runtime, threads),
                auto_runtime.installed(RUNTIMES),
                generated(2),
            )
        parameters.update(runtime=name, candidates_ms=auto_runtime.rounded(took))
        return detector

    return replace(target, load=load, parameters=parameters)


def exported(
    model: Detector, target: Target, runtime: str, threads: int | None = None, device: str = "cpu"
) -> ExportedDetector:
    """A network as a file that a runtime has opened; the file is gone when this returns."""
    import numpy as np

    from zoo.export import files, runtimes

    sample = model.preprocess(np.zeros((*EXAMPLE, 3), np.uint8))  # type: ignore[misc]
    origin = files.Origin(target.name, target.weights, target.facts.get("checkpoint"))
    with tempfile.TemporaryDirectory(prefix="bench-export-") as folder:
        artifact = files.write(model, Path(folder) / f"model{NATIVE[runtime]}", sample, origin)
        return runtimes.opened(artifact, runtime, threads, device)
