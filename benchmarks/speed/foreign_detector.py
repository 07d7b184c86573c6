"""A worker of another project with the interface of a detector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.results.record import Record
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.peers.external import ExternalWorkload, PeerError
from benchmarks.speed.protocols import interleaved
from benchmarks.speed.protocols.table import INTERLEAVED
from benchmarks.speed.targets import Target
from benchmarks.system import environment
from zoo.structures import Detections

FACTS = ("version", "commit", "torch", "python", "threads", "tf32", "settings", "parameters")


class ForeignDetector(nn.Module):
    """`preprocess` hands on an image's path, `detect_sample` has the worker read and detect. One image at a time.

    measures: what its detections can be evaluated for.
    Raises PeerError where the worker does not start.
    """

    pixel_center = 0.5
    label_count: int | None = None

    def __init__(self, peer: str, python: str, config: str, threads: int | None = None, device: str = "cpu") -> None:
        super().__init__()
        threads = threads or torch.get_num_threads()
        self.workload = ExternalWorkload(peer, python, config, [], device, threads=threads)
        names = self.workload.facts.get("classes")
        if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
            raise PeerError(f"{peer}: the worker answered with classes that are no names.")
        self.classes: list[str] | None = names
        self.measures = ["box", "mask"] if self.workload.facts.get("masks") else ["box"]

    def preprocess(self, image: str | Path) -> Path:
        """The worker does everything."""
        return Path(image)

    def detect_sample(self, sample: Path, home: Tensor | None = None) -> Detections:
        """Detections in the image of a file."""
        self.workload.images = [sample]
        return self.workload.compute(self.workload.load(0))[0]

    def predict(self, images: Tensor, geometries: Sequence[Any]) -> list[Detections]:
        """Not for tensors: a worker has its own preprocessing."""
        raise NotImplementedError

    def told(self) -> dict[str, Any]:
        """What the worker says it is, for a record's parameters."""
        return {name: self.workload.facts.get(name) for name in FACTS}


def measured(target: Target, files: Sequence[Path], setting: BenchmarkConfig, source: Mapping[str, Any]) -> Record:
    """The record of a detector's speed on image files, each call timed by the worker."""
    detector = target.load()
    workload: ExternalWorkload = detector.workload  # type: ignore[assignment]
    workload.images = files
    try:
        before = environment.conditions(setting.device)
        parameters = INTERLEAVED.parameters({**setting.overrides, "calibrate": 0})
        result = interleaved.measure(workload, torch.device(setting.device), **parameters)
        metrics = {**result.metrics, **workload.memory(), "images": result.images}
    finally:
        workload.close()
    shapes = Counter(f"{height}x{width}" for height, width in workload.shapes.values())
    told = {**detector.told(), **target.parameters, "weights": target.weights}  # type: ignore[operator]
    return Record(
        model=target.name,
        kind="inference",
        protocol=INTERLEAVED.name,
        parameters={**INTERLEAVED.describe(parameters), "batch": 1, "precision": "fp32", **source, **told}
        | {"resolution": dict(shapes)},
        metrics=metrics,
        samples=result.samples,
        environment=environment.describe(setting.device),
        conditions={"before": before, "after": environment.conditions(setting.device)},
    )
