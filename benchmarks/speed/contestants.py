"""The implementations that take part in a comparison: our network, and those peers that can run here."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

import zoo
from benchmarks.speed import inference
from benchmarks.speed.compare_config import CompareConfig
from benchmarks.speed.images import as_files
from benchmarks.speed.options import Options
from benchmarks.speed.peers import counterparts, settings
from benchmarks.speed.peers.counterparts import NoCounterpart
from benchmarks.speed.peers.external import WORKERS, ExternalWorkload, PeerError
from benchmarks.speed.peers.names import RUNTIMES
from benchmarks.speed.peers.random_weights import randomize
from benchmarks.speed.workload import DetectorWorkload, Workload
from benchmarks.system import environment
from zoo.checkpoint.convert import to_peer
from zoo.errors import MismatchedCheckpoint, UsageError, ZooError

OURS = "ours"
WORKER_FACTS = ("version", "commit", "torch", "python", "threads", "tf32", "settings")


@dataclass
class Contestant:
    """facts: version, commit, command, settings; for the record's parameters. process: what tells its peak memory."""

    workload: Workload
    facts: dict[str, Any]
    process: Callable[[], ExternalWorkload] | None = None


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
    **{runtime: partial(runtime_peer, runtime) for runtime in RUNTIMES},
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
