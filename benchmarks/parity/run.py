"""One architecture against its recorded result, on any device and with any options."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

import zoo
from benchmarks.parity import compare, formula, reference
from benchmarks.parity.compare import TOLERANCES, Gap
from benchmarks.parity.reference import Reference
from benchmarks.results.record import Record
from benchmarks.speed import optimizations as speedups
from benchmarks.speed.options import Options
from benchmarks.system import environment
from zoo.errors import ZooError
from zoo.structures import Detections

SHARES = ("boxes", "masks", "panoptic", "trace")


class NotEqual(ZooError):
    """The network's parameters are not those of the reference, so there is nothing to run."""


@dataclass(frozen=True)
class Outcome:
    """metrics: shares and differences by name. equal: all shares are high enough. gaps: the trace, if asked for."""

    metrics: Mapping[str, float]
    equal: bool
    gaps: list[Gap] = field(default_factory=list)


def check(name: str, device: str = "cpu", options: Options | None = None, trace: bool = False) -> Outcome:
    """Build, fill, run and compare. Raises NotEqual for other names or shapes of parameters, and build's errors."""
    recorded, options = reference.read(name), options or Options()
    model = prepared(recorded).to(device)
    model = speedups.apply(model, options)
    tolerance = TOLERANCES[options.amp]
    result = run(model, recorded, device, options)
    metrics = compare.results(recorded, result, tolerance)
    gaps: list[Gap] = []
    if trace or ("boxes" not in metrics and "panoptic" not in metrics) or nothing_detected(recorded):
        gaps = compare.trace(model, recorded, lambda: run(model, recorded, device, options))
        known = [gap.relative for gap in gaps if gap.relative is not None]
        metrics["trace"] = sum(value < tolerance.relative for value in known) / max(len(known), 1)
    return Outcome(metrics, equal(metrics, recorded, tolerance.share, trace), gaps)


def prepared(recorded: Reference) -> nn.Module:
    """The network with the formula's weights."""
    model = zoo.build(recorded.name)
    differences = recorded.state_differences(model)
    if differences:
        first = "; ".join(differences[:3])
        raise NotEqual(f"{recorded.name}: {len(differences)} parameters differ from the reference: {first}.")
    formula.fill(model, recorded.gains)
    return model.eval()


def run(model: nn.Module, recorded: Reference, device: str, options: Options) -> Detections:
    """The detections in the recorded image, on the CPU."""
    images = recorded.images.to(device)
    if options.channels_last:
        images = images.to(memory_format=torch.channels_last)
    proposals = recorded.proposals
    regions = {"proposals": [boxes.to(device) for boxes in proposals]} if proposals else {}
    cast = torch.autocast(torch.device(device).type, options.precision) if options.precision else nullcontext()
    with torch.inference_mode(), cast:
        return model(images, [recorded.size], **regions)[0].to("cpu")


def nothing_detected(recorded: Reference) -> bool:
    """Whether the reference found nothing with the formula's weights, so that intermediate outputs decide."""
    return not any(recorded.result.get(name) for name in ("detections", "proposals", "panoptic"))


def equal(metrics: Mapping[str, float], recorded: Reference, share: float, traced: bool) -> bool:
    """Whether every share is high enough; a trace that was only asked for informs, and does not decide."""
    names = [name for name in SHARES if name in metrics and (name != "trace" or nothing_detected(recorded))]
    many = recorded.result.get("count") or 0
    counts = metrics.get("count_difference", 0) <= max(2, 0.03 * many)
    masks = "masks" in metrics or not recorded.result.get("masks")
    return bool(names) and counts and masks and all(metrics[name] >= share for name in names)


def measure(name: str, device: str = "cpu", options: Options | None = None, trace: bool = False) -> Record:
    """`check` as a record; `metrics["equal"]` is the verdict, `metrics["trace_gaps"]` the modules if asked for."""
    with environment.full_precision():
        return in_full_precision(name, device, options or Options(), trace)


def in_full_precision(name: str, device: str, options: Options, trace: bool) -> Record:
    """`measure` where TF32 is off."""
    outcome = check(name, device, options, trace)
    modules: dict[str, Any] = {}
    if outcome.gaps:
        modules["trace_gaps"] = [{"module": g.module, "output": g.output, "relative": g.relative} for g in outcome.gaps]
    return Record(
        model=name,
        kind="parity",
        protocol="recorded-reference",
        parameters={"options": options.chosen(), "reference": reference.read(name).source},
        metrics={**outcome.metrics, "equal": outcome.equal, **modules},
        environment=environment.describe(device),
    )
