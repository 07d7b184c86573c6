"""One architecture on a GPU: recorded detections in every precision, how often the host waits, a training step."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import active_children, get_context
from typing import Any

import torch
from torch import nn

import zoo
from benchmarks.parity import compare, formula, reference, training_step
from benchmarks.parity import run as parity
from benchmarks.parity.compare import TOLERANCES
from benchmarks.parity.reference import Reference
from benchmarks.results.record import Record, failed
from benchmarks.speed import optimizations
from benchmarks.speed.options import Options
from benchmarks.system import environment
from benchmarks.system.host_waits import host_waits
from benchmarks.system.memory import release
from zoo.errors import NotTrainable, ZooError
from zoo.models.detectors.distilled import Distilled
from zoo.models.fuse import fuse_conv_bn

KIND, PROTOCOL = "gpu-check", "recorded-reference"
# Name -> options, and whether a GPU may multiply float32 as TF32. TF32 has float16's 11 bits of mantissa.
PRECISIONS: dict[str, tuple[Options, bool]] = {
    "fp32": (Options(), False),
    "tf32": (Options(), True),
    "fp16": (Options(amp="fp16"), False),
    "bf16": (Options(amp="bf16"), False),
    "fp32, fused": (Options(fuse_conv_bn=True), False),
    "fp32, channels last": (Options(channels_last=True), False),
}
TRAINED = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


@dataclass
class Findings:
    """What one architecture's checks give. faults: check -> what went wrong; the other checks go on."""

    metrics: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)

    def take(self, name: str, check: Callable[[], Any]) -> None:
        """The result of one check, or its error in a sentence."""
        try:
            self.metrics[name] = check()
        except NotTrainable as error:
            self.metrics[name] = str(error)
        except Exception as error:  # whatever it is, it is the finding
            self.faults[name] = f"{type(error).__name__}: {str(error).splitlines()[0][:300] if str(error) else ''}"


def check(name: str, device: str = "cuda") -> Record:
    """All checks of one architecture; a failed record where it cannot be built."""
    torch.set_num_threads(1)
    try:
        recorded = reference.read(name)
        on_cpu = parity.prepared(recorded)
    except (ZooError, RuntimeError, ValueError) as error:
        return failed(name, KIND, error, protocol=PROTOCOL)
    release(device)
    findings, model = Findings(), copy.deepcopy(on_cpu).to(device)
    for precision in PRECISIONS:
        findings.take(precision, partial(detections, model, recorded, device, precision))
        release(device)  # other processes want it
    if recorded.proposals is None:
        findings.take("detect", partial(detect, on_cpu, device))
    teach(model, on_cpu)
    for precision in TRAINED:
        findings.take(f"training {precision}", partial(trained, model, on_cpu, recorded, device, precision))
        release(device)
    return Record(
        model=name,
        kind=KIND,
        protocol=PROTOCOL,
        parameters={"family": recorded.family, "reference": recorded.source},
        metrics={**findings.metrics, "faults": findings.faults},
        environment=environment.describe(device),
    )


def detections(model: nn.Module, recorded: Reference, device: str, precision: str) -> dict[str, Any] | None:
    """Shares of the recorded detections, differences, peak memory; in fp32 where the host waits in a second call.

    None where an option does nothing, as folding batch norm into a network that has none.
    """
    options, tf32 = PRECISIONS[precision]
    if options.fuse_conv_bn and fuse_conv_bn(copy.deepcopy(model)) == 0:
        return None
    tolerance = TOLERANCES["fp16" if tf32 else options.amp]
    with environment.float32_as(tf32):
        fast = optimizations.apply(model, options)
        reset_peak(device)
        result = parity.run(fast, recorded, device, options)
        metrics: dict[str, Any] = dict(compare.results(recorded, result, tolerance))
        metrics["peak_mib"] = peak(device)
        if parity.nothing_detected(recorded):
            gaps = compare.trace(fast, recorded, lambda: parity.run(fast, recorded, device, options))
            known = [gap.relative for gap in gaps if gap.relative is not None]
            metrics["trace"] = sum(value < tolerance.relative for value in known) / max(len(known), 1)
        metrics["equal"] = parity.equal(metrics, recorded, tolerance.share, False)
        if precision == "fp32" and torch.device(device).type == "cuda":
            locations = host_waits(lambda: parity.run(fast, recorded, device, options))
            metrics |= {"waits": sum(locations.values()), "locations": dict(locations.most_common())}
    return metrics


def detect(model: nn.Module, device: str) -> dict[str, Any]:
    """`model.detect` of a generated image on the device beside the CPU: how many, and the largest score difference."""
    image = formula.image(90, 120, 0)
    with environment.float32_as(tf32=False):
        (want,) = model.detect([image], "cpu")  # type: ignore[operator]
        (have,) = copy.deepcopy(model).detect([image], device)  # type: ignore[operator]
    result: dict[str, Any] = {"cpu": len(want), "device": len(have)}
    if len(have) == len(want) > 0:
        result["score_difference"] = float((have.scores.cpu() - want.scores.cpu()).abs().max())
    return result


def teach(model: nn.Module, on_cpu: nn.Module) -> None:
    """Give networks that learn from another one that one, with weights that are always the same."""
    if isinstance(model, Distilled) and isinstance(on_cpu, Distilled) and model.teacher_name:
        torch.manual_seed(0)
        teacher = zoo.build(model.teacher_name)
        model.teach(copy.deepcopy(teacher).to(next(model.parameters()).device))
        on_cpu.teach(teacher)


def trained(model: nn.Module, on_cpu: nn.Module, recorded: Reference, device: str, precision: str) -> dict[str, Any]:
    """Losses and a step on the device; in fp32 how far the losses are from the CPU's, and how often the host waits."""
    dtype, result = TRAINED[precision], dict[str, Any]()
    before = copy.deepcopy(on_cpu.state_dict())
    model.load_state_dict(before)
    model.train()
    try:
        with environment.float32_as(tf32=False):
            reset_peak(device)
            values = training_step.losses(model, recorded, device, dtype)
            have = training_step.numbers(values)
            training_step.step(model, values, device, dtype)
            result |= {"losses": have, "finite": all(value == value for value in have.values())}
            result["peak_mib"] = peak(device)
            if dtype is None:
                result |= beside(on_cpu, recorded, have)
                result |= waits_in_training(model, recorded, device)
    finally:
        model.eval()
        on_cpu.load_state_dict(before)
    return result


def beside(on_cpu: nn.Module, recorded: Reference, have: dict[str, float]) -> dict[str, Any]:
    """The largest difference from the losses on the CPU."""
    on_cpu.train()
    with torch.no_grad():
        want = training_step.numbers(training_step.losses(on_cpu, recorded, "cpu"))
    on_cpu.eval()
    return {"difference": training_step.difference(have, want), "cpu": want}


def waits_in_training(model: nn.Module, recorded: Reference, device: str) -> dict[str, Any]:
    """How often the host waits for the losses alone, copies of targets to the device among them."""
    if torch.device(device).type != "cuda":
        return {}
    locations = host_waits(lambda: training_step.losses(model, recorded, device, alike=False))
    return {"waits": sum(locations.values()), "locations": dict(locations.most_common())}


def reset_peak(device: str) -> None:
    """Forget earlier peaks of a GPU's memory."""
    if torch.device(device).type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak(device: str) -> float | None:
    """The most MiB that tensors held on a GPU since; weights of both the plain and the changed network among them."""
    return torch.cuda.max_memory_allocated(device) / 2**20 if torch.device(device).type == "cuda" else None


def check_all(names: Sequence[str], device: str, workers: int) -> Iterator[Record]:
    """Records as they come, from so many processes. A process that dies takes the networks that are left with it.

    Interrupted, it ends the processes with what they are doing.
    """
    pool, before = ProcessPoolExecutor(workers, mp_context=get_context("spawn")), set(active_children())
    try:
        yield from results(pool, names, device)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(active_children()) - before:
            process.terminate()


def results(pool: Executor, names: Sequence[str], device: str) -> Iterator[Record]:
    """The records of a pool; for networks without one a failed record that says why."""
    futures = {pool.submit(check, name, device): name for name in names}
    for future in as_completed(futures):
        try:
            yield future.result()
        except (BrokenProcessPool, RuntimeError, OSError) as error:
            yield failed(futures[future], KIND, error, protocol=PROTOCOL)


def families() -> list[str]:
    """Of each family's recorded architectures the one with the fewest values in its state, largest first."""
    smallest: dict[str, tuple[int, str]] = {}
    for name in reference.names():
        record = reference.read(name)
        size = sum(torch.Size(shape).numel() for _, shape in record.state)
        smallest[record.family] = min(smallest.get(record.family, (size, name)), (size, name))
    return [name for _, name in sorted(smallest.values(), reverse=True)]
