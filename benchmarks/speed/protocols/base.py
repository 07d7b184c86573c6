"""What protocols have in common: a workload cut into stages, parameters that can be overridden, and a measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from statistics import fmean
from typing import TYPE_CHECKING, Any

from zoo.errors import UsageError

if TYPE_CHECKING:
    import torch

    from benchmarks.speed.workload import Workload

# Stages of one image's way through a detector, and whether a protocol's clock runs during each.
PIPELINE = ("decode", "resize", "normalize", "copy", "network", "post_process", "encode")
"""The finer ones of the protocol `end-to-end`, in order."""

STAGES = ("data_loading", "host_to_device", "network", "post_processing", "mask_pasting", "mask_encoding")


@dataclass
class Measurement:
    """Numbers of one run. samples: name -> raw values in seconds, in order. images: how many were timed."""

    metrics: dict[str, Any]
    samples: dict[str, list[float]] = field(default_factory=dict)
    images: int = 0


@dataclass(frozen=True)
class Protocol:
    """A way to measure speed.

    source: where it is defined. timed: stages of STAGES inside the clock. defaults: its parameters as defined; a run
    with other values says so in its record. batch: the only batch size it is defined for, None for any.
    module: the one below this package whose `measure(workload, device, **parameters)` returns a Measurement.
    """

    name: str
    title: str
    source: str
    timed: tuple[str, ...]
    defaults: Mapping[str, Any]
    module: str
    batch: int | None = 1

    @property
    def measure(self) -> Callable[..., Measurement]:
        """What measures; imported when it is used, since it needs torch."""
        measure: Callable[..., Measurement] = import_module(f"{__package__}.{self.module}").measure
        return measure

    def parameters(self, overrides: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The defaults with `overrides`. Raises UsageError for a parameter that this protocol does not have."""
        overrides = overrides or {}
        unknown = sorted(set(overrides) - set(self.defaults))
        if unknown:
            raise UsageError(
                f"Protocol {self.name} has no parameter '{unknown[0]}'; it has: {', '.join(self.defaults)}."
            )
        return dict(self.defaults) | {name: convert(self, name, value) for name, value in overrides.items()}

    def describe(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """What a record says about the protocol: parameters, timed stages, and where it departs from the definition."""
        changed = sorted(name for name, value in parameters.items() if value != self.defaults[name])
        return {**parameters, "timed": {stage: stage in self.timed for stage in STAGES}, "departs_in": changed}


def convert(protocol: Protocol, name: str, value: Any) -> Any:
    """`value`, perhaps text from the command line, as the type that the default has."""
    kind = type(protocol.defaults[name])
    try:
        number = kind(value)
    except (TypeError, ValueError):
        number = None
    if number is None or number < 0:
        raise UsageError(f"{protocol.name}: '{name}' takes a number of at least 0, not '{value}'.")
    return number


def run(
    protocol: Protocol,
    workload: Workload,
    device: torch.device | str = "cpu",
    repeat: int = 1,
    overrides: Mapping[str, Any] | None = None,
) -> Measurement:
    """Measure `workload`, `repeat` times over; more than one run gives their mean fps, each run's fps, all samples."""
    import torch

    if protocol.batch is not None and workload.batch != protocol.batch:
        raise UsageError(f"Protocol {protocol.name} is defined for batch {protocol.batch}, not {workload.batch}.")
    parameters = protocol.parameters(overrides)
    runs = [protocol.measure(workload, torch.device(device), **parameters) for _ in range(repeat)]
    return runs[0] if len(runs) == 1 else combine(runs)


def combine(runs: list[Measurement]) -> Measurement:
    """Several runs as one: every number is the mean over the runs, latencies are those of all samples together."""
    from benchmarks.system.timing import summary

    samples = {name: [value for run in runs for value in run.samples[name]] for name in runs[0].samples}
    metrics: dict[str, Any] = {name: fmean(run.metrics[name] for run in runs) for name in runs[0].metrics}
    metrics |= {"fps_runs": [run.metrics["fps"] for run in runs]} | summary(samples.get("latency_s", []))
    return Measurement(metrics, samples, sum(run.images for run in runs))
