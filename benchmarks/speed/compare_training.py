"""Training one detector in several implementations, in turns: same weights, same batch, same optimizer.

Each trains in a process of its own. First every side computes the losses of one batch with samplers that take all, so
that nothing is left to chance: only where these agree is a ratio of speeds shown. Then iterations are timed in turns,
as many as give each side's median an interval of ±3%, or as time allows.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch

import zoo
from benchmarks.results.record import Record, failed, skipped
from benchmarks.speed import inference
from benchmarks.speed.compare_config import CompareConfig
from benchmarks.speed.config import BenchmarkConfig
from benchmarks.speed.contestants import OURS, network, peers_weights
from benchmarks.speed.peers import counterparts, training_batch
from benchmarks.speed.peers.counterparts import NoCounterpart
from benchmarks.speed.peers.external import ANSWER_SECONDS, WORKERS, ExternalWorkload, PeerError
from benchmarks.speed.peers.names import RUNTIMES
from benchmarks.system import environment
from benchmarks.system.conditions import Conditions
from benchmarks.system.timing import median_interval
from zoo.errors import UsageError
from zoo.manifest import api
from zoo.models.supervision import supervision

PROTOCOL = "training-interleaved"
INTERVAL, TOLERANCE = 0.03, 1e-3
FACTS = ("version", "commit", "torch", "python", "threads", "tf32")
# Names of losses -> ours.
LOSSES = {
    "loss_rpn_loc": "loss_rpn_bbox",  # Detectron2's
    "loss_box_reg": "loss_bbox",
    "loss_sem_seg": "loss_seg",
    "loss_objectness": "loss_rpn_cls",  # torchvision's
    "loss_rpn_box_reg": "loss_rpn_bbox",
    "loss_classifier": "loss_cls",
    "classification": "loss_cls",
    "bbox_regression": "loss_bbox",
    "bbox_ctrness": "loss_centerness",
    **{f"loss_cls_stage{i}": f"s{i}.loss_cls" for i in range(3)},  # Detectron2's cascades
    **{f"loss_box_reg_stage{i}": f"s{i}.loss_bbox" for i in range(3)},
}


@dataclass(frozen=True)
class TrainingComparison:
    """What to compare. batch: images in a step. iterations, seconds: at most so many are timed of each side.

    shorter: pixels of the images' shorter side; None for the published size.
    """

    name: str
    against: Sequence[str]
    pythons: Mapping[str, str] = field(default_factory=dict)
    weights: Path | None = None
    device: str = "cpu"
    threads: int | None = None
    batch: int = 2
    shorter: int | None = None
    iterations: int = 400
    seconds: float = 600.0
    patience: float = ANSWER_SECONDS


@dataclass
class Side:
    """One implementation: its process, and the losses of the first step by our names."""

    worker: ExternalWorkload
    losses: dict[str, float]
    seconds: list[float] = field(default_factory=list)
    computing: list[float] = field(default_factory=list)  # processor time of all threads


def run(request: TrainingComparison) -> list[Record]:
    """A record for ours and for each peer; one that cannot be had or fails has a record that says so.

    Raises UsageError for a network that learns from more than the batch has.
    """
    check_supervision(request.name)
    for peer in request.against:
        with suppress(NoCounterpart):
            counterparts.counterpart(request.name, peer)
    with ExitStack() as stack:
        stack.enter_context(inference.thread_count(request.threads))
        sides, unavailable = gather(request, stack)
        with Conditions(request.device) as conditions:
            take_turns(request, sides, unavailable)
        return [
            *(record(request, name, sides, conditions.read) for name in sides),
            *(unavailable_record(request, peer, reason) for peer, reason in unavailable.items()),
        ]


def check_supervision(name: str) -> None:
    """Raise UsageError for a network that learns from images without annotations."""
    if supervision(api.architecture(name)).unlabeled:
        raise UsageError(
            f"--training: {name} also learns from images without annotations, which the batch of a comparison does "
            "not have."
        )


def gather(request: TrainingComparison, stack: ExitStack) -> tuple[dict[str, Side], dict[str, str]]:
    """Those that train, ours first, each with its first losses; and peer -> why not."""
    folder = Path(stack.enter_context(TemporaryDirectory()))
    setting = BenchmarkConfig(device=request.device, threads=request.threads)
    model, _ = network(CompareConfig(request.name, request.against, [], request.pythons, request.weights, setting))
    batch = training_batch.write(folder / "batch.npz", request.name, request.batch, request.shorter)
    path = folder / "weights-ours.pth"
    torch.save(model.state_dict(), path)
    config = f"ours {request.name}"
    sides = {OURS: stack.enter_context(side(request, "ours", sys.executable, config, path, batch, in_our_python()))}
    unavailable: dict[str, str] = {}
    for peer in request.against:
        try:
            python, config = where(request, peer)
            weights = peers_weights(model, peer, folder)
            options = in_our_python() if peer == "torchvision" else {}
            sides[peer] = stack.enter_context(side(request, peer, python, config, weights, batch, options))
        except (PeerError, NoCounterpart) as error:
            unavailable[peer] = str(error)
    return sides, unavailable


def in_our_python() -> dict[str, Any]:
    """The worker for what is installed beside this project: our networks, and torchvision's."""
    root = str(Path(zoo.__file__).resolve().parents[1])
    return {"script": WORKERS / "own_worker.py", "paths": [root, *sys.path[1:]]}


def where(request: TrainingComparison, peer: str) -> tuple[str, str]:
    """A peer's interpreter and its name for the detector."""
    if peer == "torchvision":
        counterparts.counterpart(request.name, peer)  # NoCounterpart where it has none
        return sys.executable, f"torchvision {request.name}"
    if peer in ("transformers", *RUNTIMES):
        raise PeerError(f"not measured: {peer} has no worker that trains.")
    if peer not in request.pythons:
        raise PeerError(f"not measured: say --python {peer}=PATH of a Python that has it.")
    return request.pythons[peer], counterparts.counterpart(request.name, peer)


@contextmanager
def side(
    request: TrainingComparison,
    peer: str,
    python: str,
    config: str,
    weights: Path,
    batch: Path,
    options: Mapping[str, Any],
) -> Iterator[Side]:
    """An implementation in a process of its own, ready for its first step."""
    threads = request.threads or torch.get_num_threads()
    arguments = (request.device, str(weights), threads)
    worker = ExternalWorkload(peer, python, config, [], *arguments, patience=request.patience, **options)
    try:
        yield Side(worker, in_our_names(worker.train(batch, take_all=True)))
    finally:
        worker.close()


def in_our_names(losses: Mapping[str, float]) -> dict[str, float]:
    """A peer's losses by our names; the mask loss of Detectron2's cascades is one of their first stage."""
    result = {LOSSES.get(name, name): value for name, value in losses.items()}
    if "s0.loss_cls" in result and "loss_mask" in result:
        result["s0.loss_mask"] = result.pop("loss_mask")
    return result


def take_turns(request: TrainingComparison, sides: dict[str, Side], unavailable: dict[str, str]) -> None:
    """Time iterations in turns, the first of each left out; a peer that fails leaves the others."""
    start, turn = time.perf_counter(), 0
    while turn <= request.iterations:
        for name in list(sides) if turn % 2 == 0 else list(sides)[::-1]:
            try:
                seconds, computing = sides[name].worker.step()
            except PeerError as error:
                if name == OURS:
                    raise
                del sides[name]
                unavailable[name] = str(error)
            else:
                sides[name].seconds += [seconds] if turn else []
                sides[name].computing += [computing] if turn else []
        turn += 1
        precise = turn > 5 and all(half_width(one.seconds) <= INTERVAL for one in sides.values())
        if precise or (turn > 1 and time.perf_counter() - start > request.seconds):  # at least one is timed
            return


def half_width(seconds: Sequence[float]) -> float:
    """Half of the 95% interval of the median, as a part of the median."""
    low, high = median_interval(seconds)
    return (high - low) / 2 / float(np.median(seconds))


def record(request: TrainingComparison, name: str, sides: Mapping[str, Side], conditions: Mapping[str, Any]) -> Record:
    """One implementation's record. Its speed relative to ours is there only if the first losses agree."""
    ours, one = sides[OURS], sides[name]
    remark = verdict(ours.losses, one.losses)
    metrics = measured(one, request.batch) | {"loss_difference": difference(ours.losses, one.losses)}
    with suppress(PeerError):
        metrics |= one.worker.memory()
    if remark is None:
        metrics |= ratio(ours.seconds, one.seconds)
    if torch.device(request.device).type == "cpu":
        metrics |= {"cpu_s": float(np.median(one.computing))}
        metrics |= {f"cpu_{key}": v for key, v in ratio(ours.computing, one.computing).items() if remark is None}
    return Record(
        model=request.name,
        kind="compare training",
        protocol=PROTOCOL,
        parameters={**described(request, name, one), "same_work": remark is None, "remark": remark},
        metrics=metrics,
        samples={"iteration_s": one.seconds, "cpu_s": one.computing},
        environment=environment.describe(request.device),
        conditions=conditions,
    )


def measured(side: Side, batch: int) -> dict[str, Any]:
    """How fast an implementation trains, and its first losses."""
    median = float(np.median(side.seconds))
    low, high = median_interval(side.seconds)
    return {
        "iteration_s": median,
        "iteration_s_low": low,
        "iteration_s_high": high,
        "images_per_second": batch / median,
        "iterations": len(side.seconds),
        "losses": side.losses,
    }


def described(request: TrainingComparison, name: str, side: Side) -> dict[str, Any]:
    """What an implementation trained, and on what."""
    return {
        "peer": None if name == OURS else name,
        "batch": request.batch,
        "weights": request.weights.name if request.weights else "random, the same",
        "images": f"generated, {size(request)}, without augmentation",
        "shorter_side": request.shorter,
        "optimizer": "SGD, learning rate 2.5e-6, momentum 0.9, weight decay 0.0001",
        "command": side.worker.told,
        **{fact: side.worker.facts.get(fact) for fact in FACTS},
        "commit": environment.commit() if name == OURS else side.worker.facts.get("commit"),
    }


def size(request: TrainingComparison) -> str:
    """How large the images are."""
    return f"with {request.shorter} pixels on the shorter side" if request.shorter else "at the published size"


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> dict[str, float]:
    """Seconds of ours over seconds of this one, the median over pairs of neighboring iterations, with its interval."""
    count = min(len(ours), len(theirs))
    ratios = np.array(ours[:count]) / np.array(theirs[:count])
    low, high = median_interval(ratios)
    return {"speedup": float(np.median(ratios)), "speedup_low": low, "speedup_high": high}


def difference(ours: Mapping[str, float], theirs: Mapping[str, float]) -> float | None:
    """The largest difference between losses of the same name, relative above 1; None where the names differ."""
    if ours.keys() != theirs.keys():
        return None
    return max(abs(value - theirs[name]) / max(abs(value), 1.0) for name, value in ours.items())


def verdict(ours: Mapping[str, float], theirs: Mapping[str, float]) -> str | None:
    """Why a comparison is none; None where the losses of the first step are the same."""
    gap = difference(ours, theirs)
    if gap is None:
        return f"not the same work: losses {', '.join(sorted(theirs))} instead of {', '.join(sorted(ours))}"
    if not gap <= TOLERANCE:
        worst = max(ours, key=lambda name: abs(ours[name] - theirs[name]) / max(abs(ours[name]), 1.0))
        return f"not the same work: {worst} of the first step is {theirs[worst]:.4f} instead of {ours[worst]:.4f}"
    return None


def unavailable_record(request: TrainingComparison, peer: str, reason: str) -> Record:
    """A peer that did not train, with what it published."""
    number = counterparts.published(request.name, peer)
    facts = {"peer": peer, "published": asdict(number) if number else None}
    status = skipped if "not measured" in reason or "no counterpart" in reason else failed
    return status(request.name, "compare training", reason, protocol=PROTOCOL, parameters=facts)
