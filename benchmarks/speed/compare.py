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


<<<<<<< HEAD
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


=======
>>>>>>> main
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
