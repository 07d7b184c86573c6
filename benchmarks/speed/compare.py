"""One detector in several implementations, in turns: same images, same protocol, same weights where possible."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch

import zoo
from benchmarks.results import agreement
from benchmarks.results.record import Record, failed, skipped
from benchmarks.speed import inference
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.options import Options
from benchmarks.speed.peers import counterparts, settings
from benchmarks.speed.peers.counterparts import NoCounterpart
from benchmarks.speed.peers.external import ANSWER_SECONDS, WORKERS, ExternalWorkload, PeerError
from benchmarks.speed.peers.random_weights import randomize
from benchmarks.speed.protocols import Measurement, interleaved
from benchmarks.speed.protocols.table import INTERLEAVED
from benchmarks.speed.workload import DetectorWorkload, ImageSource, Workload
from benchmarks.system import environment
from benchmarks.system.conditions import Conditions
from zoo.checkpoint.convert import to_peer
from zoo.errors import MismatchedCheckpoint, UsageError, ZooError

OURS = "ours"
WORKER_FACTS = ("version", "commit", "torch", "python", "threads", "tf32", "settings")
SAME_WORK = 0.99
"""Share of the detections of either side that the other must have too; below it a ratio of speeds means nothing."""


@dataclass(frozen=True)
class CompareConfig:
    """What to compare. pythons: peer -> interpreter of the environment that has it. weights: a checkpoint file.

    patience: seconds that a peer's worker may take for an answer. memory: whether to measure peaks, each in a process.
    """

    name: str
    against: Sequence[str]
    images: Sequence[ImageSource]
    pythons: Mapping[str, str] = field(default_factory=dict)
    weights: Path | None = None
    setting: BenchmarkConfig = field(default_factory=BenchmarkConfig)
    patience: float = ANSWER_SECONDS
    memory: bool = True


@dataclass
class Contestant:
    """facts: version, commit, command, settings; for the record's parameters. process: what tells its peak memory."""

    workload: Workload
    facts: dict[str, Any]
    process: Callable[[], ExternalWorkload] | None = None


@dataclass
class Results:
    """What was measured of each contestant, and what each found in the first images."""

    measured: dict[str, Measurement]
    detections: dict[str, list[Any]]
    conditions: dict[str, Any]


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


def gather(request: CompareConfig, stack: ExitStack) -> tuple[dict[str, Contestant], dict[str, str]]:
    """Those that can run, ours first; and peer -> why not."""
    folder = Path(stack.enter_context(TemporaryDirectory()))
    model, weights = network(request)
    files = as_files(request.images, folder)
    contestants, unavailable = {OURS: own(model, request, Options(), weights, files, folder)}, {}
    if request.setting.options.chosen():
        contestants["ours with options"] = own(model, request, request.setting.options, weights, files, folder)
    for peer in request.against:
        try:
            if peer in IN_THIS_PROCESS:
                contestants[peer] = IN_THIS_PROCESS[peer](request, model, folder, weights, files)
            else:
                path = peers_weights(model, peer, folder)
                contestants[peer] = stack.enter_context(external_peer(request, peer, path, weights, files, model))
        except (PeerError, NoCounterpart) as error:
            unavailable[peer] = str(error)
    return contestants, unavailable


def network(request: CompareConfig) -> tuple[Any, str]:
    """Ours with the weights that all get, and a word about them."""
    if request.weights is not None:
        return zoo.load_file(request.weights, request.name), request.weights.name
    model = zoo.build(request.name)
    randomize(model)
    return model, "random, the same"


def peers_weights(model: Any, peer: str, folder: Path) -> Path:
    """Our weights as a file that a peer reads. Raises PeerError where the peer has no such layers."""
    target = folder / f"weights-{peer}{to_peer.PEERS[peer]}"
    try:
        return to_peer.write(model.state_dict(), peer, target, type(model.backbone).__name__, model.classes or ())
    except MismatchedCheckpoint as error:
        raise PeerError(f"not measured: it cannot have the same weights, since {error}") from error


def own(
    model: Any, request: CompareConfig, options: Options, weights: str, files: Sequence[Path], folder: Path
) -> Contestant:
    """Our network with options."""
    workload = inference.workload_of(model.to(request.setting.device), request.images, request.setting, options)
    facts = {
        "version": environment.libraries().get("detection-zoo"),
        "commit": environment.commit(),
        "options": options.chosen(),
        "precision": options.amp or request.setting.float32,
        "weights": weights,
        "threads": torch.get_num_threads(),
        "settings": settings.of_ours(model),
    }
    path = folder / "weights-ours.pth"
    if not path.exists():
        torch.save(model.state_dict(), path)
    alone = None if options.chosen() else in_its_own_process(request, f"ours {request.name}", path, files)
    return Contestant(workload, facts, alone)


def in_its_own_process(
    request: CompareConfig, config: str, weights: Path, files: Sequence[Path]
) -> Callable[[], ExternalWorkload]:
    """Starts a process with one network in it, whose peak memory is that network's."""
    setting, script = request.setting, WORKERS / "own_worker.py"
    root = str(Path(zoo.__file__).resolve().parents[1])
    arguments = (setting.device, str(weights), setting.threads, script, [root, *sys.path[1:]])
    return lambda: ExternalWorkload(
        "ours", sys.executable, config, files, *arguments, patience=request.patience, tf32=setting.tf32
    )


def torchvision_peer(
    request: CompareConfig, model: Any, folder: Path, weights: str, files: Sequence[Path]
) -> Contestant:
    """torchvision's detector on our network's inputs."""
    path = peers_weights(model, "torchvision", folder)
    import torchvision

    from benchmarks.speed.peers.torchvision import TorchvisionDetector

    builder = counterparts.counterpart(request.name, "torchvision")
    theirs = TorchvisionDetector(builder, model.preprocess)
    try:
        theirs.network.load_state_dict(torch.load(path, weights_only=True))
    except RuntimeError as error:  # same method, other layers, as RetinaNet's P6 from another map
        raise PeerError(f"not measured: {request.name} has other layers than torchvision's {builder}.") from error
    device = torch.device(request.setting.device)
    facts = {
        "version": torchvision.__version__,
        "commit": getattr(torchvision.version, "git_version", None),
        "command": f"torchvision.models.detection.{builder}()",
        "weights": weights,
        "precision": request.setting.float32,
        "threads": torch.get_num_threads(),
        "settings": settings.of_torchvision(theirs.network),
    }
    workload = DetectorWorkload(theirs.to(device), request.images, device, request.setting.batch)
    return Contestant(workload, facts, in_its_own_process(request, f"torchvision {request.name}", path, files))


def transformers_peer(
    request: CompareConfig, model: Any, folder: Path, weights: str, files: Sequence[Path]
) -> Contestant:
    """transformers' network on our network's inputs."""
    from benchmarks.speed.peers import transformers as peer

    name = counterparts.counterpart(request.name, "transformers")
    try:
        theirs = peer.TransformersDetector(peer.write(model.state_dict(), folder, model.classes or ()), model)
    except (MismatchedCheckpoint, UsageError) as error:
        raise PeerError(f"not measured: {error}") from error
    facts = {
        "version": metadata.version("transformers"),
        "command": f"transformers.{name}.from_pretrained()",
        "weights": weights,
        "precision": "fp32",
        "threads": torch.get_num_threads(),
    }
    device = torch.device(request.setting.device)
    return Contestant(DetectorWorkload(theirs.to(device), request.images, device, request.setting.batch), facts)


def runtime_peer(
    runtime: str, request: CompareConfig, model: Any, folder: Path, weights: str, files: Sequence[Path]
) -> Contestant:
    """Our own network, exported and run by another runtime."""
    from benchmarks.speed import runtimes
    from benchmarks.speed.targets import Target

    setting, target = request.setting, Target(request.name, weights, lambda: model, {})
    try:
        exported = runtimes.exported(model, target, runtime, torch.get_num_threads(), setting.device)
    except ZooError as error:
        raise PeerError(f"not measured: {error}") from error
    facts = {
        "version": exported.runtime_version,
        "command": f"{runtime} on the exported network",
        "weights": weights,
        "precision": "fp32",
        "threads": torch.get_num_threads(),
    }
    return Contestant(DetectorWorkload(exported, request.images, torch.device(setting.device), setting.batch), facts)


IN_THIS_PROCESS: dict[str, Callable[..., Contestant]] = {
    "torchvision": torchvision_peer,
    "transformers": transformers_peer,
    **{runtime: partial(runtime_peer, runtime) for runtime in counterparts.RUNTIMES},
}
"""Peers that are installed beside this project."""


@contextmanager
def external_peer(
    request: CompareConfig, peer: str, path: Path, weights: str, files: Sequence[Path], model: Any
) -> Iterator[Contestant]:
    """A peer in the user's own environment, on the same images as files. Raises PeerError if it does not start."""
    if peer not in request.pythons:
        raise PeerError(f"not measured: say --python {peer}=PATH of a Python that has it.")
    setting, config, python = request.setting, counterparts.counterpart(request.name, peer), request.pythons[peer]
    threads = setting.threads or torch.get_num_threads()
    workload = ExternalWorkload(
        peer,
        python,
        config,
        files,
        setting.device,
        str(path),
        threads,
        patience=request.patience,
        tf32=setting.tf32,
    )
    try:
        facts = {name: workload.facts.get(name) for name in WORKER_FACTS}
        facts |= {"command": f"{workload.told} {config}", "weights": weights, "precision": setting.float32}
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


def record(
    request: CompareConfig,
    name: str,
    contestants: Mapping[str, Contestant],
    results: Results,
    memory: Mapping[str, float],
) -> Record:
    """One implementation's record: its numbers, and how its detections agree with ours.

    Its speed relative to ours is there only if both do the same work, which equal detections show.
    """
    setting, protocol, contestant = request.setting, INTERLEAVED, contestants[name]
    agreed = agreement.compare(results.detections[OURS], results.detections[name])
    metrics = {**results.measured[name].metrics, **asdict(agreed), **memory}
    remark = verdict(agreed, sum(map(len, results.detections[name])))
    if remark is not None:
        metrics = {key: value for key, value in metrics.items() if not key.startswith("speedup")}
    return Record(
        model=request.name,
        kind="compare",
        protocol=protocol.name,
        parameters={
            **protocol.describe(protocol.parameters(setting.overrides)),
            "peer": None if name.startswith(OURS) else name,
            "batch": setting.batch,
            "images": len(request.images),
            "resolution": resolution(contestant.workload),
            **contestant.facts,
            "differences": unlike(contestants[OURS], contestant),
            "same_work": remark is None,
            "remark": remark,
        },
        metrics=metrics,
        samples=results.measured[name].samples,
        environment=environment.describe(setting.device),
        conditions=results.conditions,
    )


def verdict(agreed: agreement.Agreement, count: int) -> str | None:
    """Why a comparison is none; None where both sides find the same. count: detections of the other side."""
    if not agreed.detections and not count:
        return "not the same work: neither finds anything, so nothing shows that both do the same"
    hits = round(agreed.matched * agreed.detections)
    share = hits / max(agreed.detections, count)
    return None if share >= SAME_WORK else f"not the same work: the sides agree on {share:.1%} of the detections"


def unlike(ours: Contestant, theirs: Contestant) -> str:
    """Everything that is known to differ from ours, besides the code."""
    result = settings.differences(ours.facts.get("settings") or {}, theirs.facts.get("settings") or {})
    for what in ("threads", "precision", "weights"):
        if theirs.facts.get(what) not in (None, ours.facts.get(what)):
            result.append(f"{what} {ours.facts.get(what)} / {theirs.facts[what]}")
    if isinstance(theirs.workload, ExternalWorkload):
        result.append(f"in a process of its own, with PyTorch {theirs.facts.get('torch')}")
        shapes = [resolution(contestant.workload) for contestant in (ours, theirs)]
        if shapes[0] != shapes[1]:
            result.append(f"input sizes {', '.join(shapes[0])} / {', '.join(shapes[1])}")
    return "; ".join(result)


def resolution(workload: Workload) -> dict[str, int]:
    """Input shapes 'height x width' and how many of the first batches have each."""
    if isinstance(workload, ExternalWorkload):
        return dict(Counter(f"{height}x{width}" for height, width in workload.shapes.values()))
    return inference.resolution(workload)  # type: ignore[arg-type]


def unavailable_record(request: CompareConfig, peer: str, reason: str) -> Record:
    """A peer that did not run, with what it published."""
    number = counterparts.published(request.name, peer)
    facts = {"peer": peer, "published": asdict(number) if number else None}
    status = skipped if "not measured" in reason or "no counterpart" in reason else failed
    return status(request.name, "compare", reason, protocol=INTERLEAVED.name, parameters=facts)
