"""One detector in several implementations, in turns: same images, same protocol, same weights where possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

import zoo
from benchmarks.results import agreement
from benchmarks.results.record import Record, skipped
from benchmarks.speed import inference
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.options import Options
from benchmarks.speed.peers import counterparts
from benchmarks.speed.peers.counterparts import NoCounterpart
from benchmarks.speed.peers.external import ExternalWorkload, PeerError
from benchmarks.speed.protocols import Measurement, interleaved
from benchmarks.speed.protocols.table import INTERLEAVED
from benchmarks.speed.workload import DetectorWorkload, ImageSource, Workload
from benchmarks.system import environment
from zoo.checkpoint import Checkpoint, load_into
from zoo.errors import MismatchedCheckpoint

OURS = "ours"
SAME = "same inputs, anchors, RoI align and numbers of proposals"
OTHERWISE = "its own anchors, RoI align and post-processing"
WORKER_FACTS = ("version", "commit", "torch", "python", "threads", "tf32")


@dataclass(frozen=True)
class CompareConfig:
    """What to compare. pythons: peer -> interpreter of the environment that has it. weights: a checkpoint file."""

    name: str
    against: Sequence[str]
    images: Sequence[ImageSource]
    pythons: Mapping[str, str] = field(default_factory=dict)
    weights: Path | None = None
    setting: BenchmarkConfig = field(default_factory=BenchmarkConfig)


@dataclass
class Contestant:
    """facts: version, commit, command, what is different; for the record's parameters."""

    workload: Workload
    facts: dict[str, Any]


def run(request: CompareConfig) -> list[Record]:
    """A record for our network, for ours with options if any are on, and for each peer.

    A peer that is not to be had, or has no such detector, gives a skipped record with what it published. Raises
    UsageError for an unknown peer.
    """
    for peer in request.against:
        with suppress(NoCounterpart):
            counterparts.counterpart(request.name, peer)
    with ExitStack() as stack:
        stack.enter_context(inference.thread_count(request.setting.threads))
        contestants, absent = gather(request, stack)
        workloads = {name: contestant.workload for name, contestant in contestants.items()}
        device, before = torch.device(request.setting.device), environment.conditions(request.setting.device)
        measured = interleaved.compare(workloads, device, request.setting.overrides)
        conditions = {"before": before, "after": environment.conditions(request.setting.device)}
        want = detections(contestants[OURS].workload)
        return [
            *(record(request, name, contestants[name], measured[name], conditions, want) for name in contestants),
            *(absence(request, peer, reason) for peer, reason in absent.items()),
        ]  # fmt: skip


def gather(request: CompareConfig, stack: ExitStack) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Those that can run, ours first; and peer -> why not."""
    ours, theirs, weights = networks(request)
    contestants, absent = {OURS: own(ours, request, Options(), weights)}, {}
    if request.setting.options.chosen():
        contestants["ours with options"] = own(ours, request, request.setting.options, weights)
    for peer in request.against:
        try:
            if peer == "torchvision":
                contestants[peer] = torchvision_rival(request, theirs, weights)
            else:
                contestants[peer] = stack.enter_context(external_rival(request, peer))
        except (PeerError, NoCounterpart) as error:
            absent[peer] = str(error)
    return contestants, absent


def networks(request: CompareConfig) -> tuple[Any, Any, str]:
    """Ours, torchvision's if it takes part (else None), and a word about the weights.

    Both read the weights' file; without one, torchvision's random weights are copied into ours.
    """
    torch.manual_seed(0)
    ours, theirs = zoo.build(request.name), None
    if "torchvision" in request.against:
        from benchmarks.speed.peers.torchvision import TorchvisionDetector

        with suppress(NoCounterpart):
            theirs = TorchvisionDetector(counterparts.counterpart(request.name, "torchvision"), ours.preprocess)
    if request.weights is not None:
        return zoo.load_file(request.weights, request.name), filled(theirs, request.weights), request.weights.name
    if theirs is None:
        return ours, None, "random"
    try:
        load_into(ours, Checkpoint(dict(theirs.network.state_dict())))
    except MismatchedCheckpoint:  # same method, other layers, as RetinaNet's P6 from another map
        return ours, theirs, "random, each its own"
    return ours, theirs, "random, the same"


def filled(theirs: Any, weights: Path) -> Any:
    """torchvision's network with a file's weights; None if the file is of another implementation."""
    if theirs is None:
        return None
    from zoo.checkpoint import read

    try:
        theirs.network.load_state_dict(read(weights).state_dict)
    except RuntimeError:  # PyTorch's list of all names that do not fit
        return None
    return theirs


def own(model: Any, request: CompareConfig, options: Options, weights: str) -> Contestant:
    """Our network with options."""
    workload = inference.workload_of(model.to(request.setting.device), request.images, request.setting, options)
    facts = {
        "version": environment.libraries().get("detection-zoo"),
        "commit": environment.commit(),
        "options": options.chosen(),
        "precision": options.amp or "fp32",
        "weights": weights,
    }
    return Contestant(workload, facts)


def torchvision_rival(request: CompareConfig, model: Any, weights: str) -> Contestant:
    """torchvision's detector on our network's inputs."""
    import torchvision

    builder = counterparts.counterpart(request.name, "torchvision")
    if model is None:
        raise PeerError(f"not measured: {weights} is no checkpoint of torchvision's {builder}.")
    device = torch.device(request.setting.device)
    facts = {
        "version": torchvision.__version__,
        "commit": getattr(torchvision.version, "git_version", None),
        "command": f"torchvision.models.detection.{builder}()",
        "weights": weights,
        "precision": "fp32",
        "differences": SAME if request.name.startswith("torchvision/") else "same inputs; " + OTHERWISE,
    }
    return Contestant(DetectorWorkload(model.to(device), request.images, device, request.setting.batch), facts)


@contextmanager
def external_rival(request: CompareConfig, peer: str) -> Iterator[Contestant]:
    """A peer in the user's own environment, on the same images as files. Raises PeerError if it does not start."""
    if peer not in request.pythons:
        raise PeerError(f"not measured: say --python {peer}=PATH of a Python that has it.")
    setting, config, python = request.setting, counterparts.counterpart(request.name, peer), request.pythons[peer]
    weights = str(request.weights.resolve()) if request.weights else None
    with TemporaryDirectory() as folder:
        files = as_files(request.images, Path(folder))
        workload = ExternalWorkload(peer, python, config, files, setting.device, weights, setting.threads)
        try:
            facts = {name: workload.facts.get(name) for name in WORKER_FACTS}
            facts["command"] = " ".join([*workload.command, config])
            facts["differences"] = "its own preprocessing, in a process and with a PyTorch of its own"
            facts["weights"] = request.weights.name if request.weights else "random, its own"
            facts["precision"] = "fp32"
            yield Contestant(workload, facts)
        finally:
            workload.close()


def as_files(images: Sequence[ImageSource], folder: Path) -> list[Path]:
    """The images as files; arrays are written without loss."""
    files = []
    for i, image in enumerate(images):
        if isinstance(image, np.ndarray):
            files.append(folder / f"{i}.png")
            cv2.imwrite(str(files[-1]), image)
        else:
            files.append(Path(image))
    return files


def detections(workload: Workload, batches: int = 4) -> list[Any]:
    """What is found in the first images."""
    return [found for i in range(min(batches, len(workload))) for found in workload.compute(workload.load(i))]


def record(
    request: CompareConfig,
    name: str,
    contestant: Contestant,
    measured: Measurement,
    conditions: Mapping[str, Any],
    want: list[Any],
) -> Record:
    """One implementation's record: its numbers, its speed relative to ours, and how its detections agree with ours."""
    setting, protocol = request.setting, INTERLEAVED
    agreed = asdict(agreement.compare(want, detections(contestant.workload)))
    return Record(
        model=request.name,
        kind="compare",
        protocol=protocol.name,
        parameters={
            **protocol.describe(protocol.parameters(setting.overrides)),
            "peer": None if name.startswith(OURS) else name,
            "batch": setting.batch,
            "resolution": resolution(contestant.workload),
            **contestant.facts,
        },
        metrics={**measured.metrics, **agreed},
        samples=measured.samples,
        environment=environment.describe(setting.device),
        conditions=conditions,
    )


def resolution(workload: Workload) -> dict[str, int]:
    """Input shapes 'height x width' and how many of the first batches have each."""
    if isinstance(workload, ExternalWorkload):
        return dict(Counter(f"{height}x{width}" for height, width in workload.shapes.values()))
    return inference.resolution(workload)  # type: ignore[arg-type]


def absence(request: CompareConfig, peer: str, reason: str) -> Record:
    """A peer that did not run, with what it published."""
    number = counterparts.published(request.name, peer)
    facts = {"peer": peer, "published": asdict(number) if number else None}
    return skipped(request.name, "compare", reason, protocol=INTERLEAVED.name, parameters=facts)
