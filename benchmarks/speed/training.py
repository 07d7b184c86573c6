"""Training speed and memory of a network: one call, one record.

Two protocols. `mmdet-v2` is that of the zoo's page: the average over iterations 100 to 500 of a training as it is, with
its data loading. `detectron2` is Detectron2's `tools/benchmark.py --task train`: 400 iterations on 100 batches that are
prepared beforehand, the first 3 left out. Memory is the largest peak of all processes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import fmean
from typing import Any

from torch.utils.data import DataLoader
from tqdm import tqdm

from benchmarks.results.record import Record
from benchmarks.speed.generated import Generated
from benchmarks.speed.training_config import PROTOCOLS, Protocol, TrainingConfig, chosen
from benchmarks.system import environment
from benchmarks.system.conditions import Conditions
from benchmarks.system.memory import MemoryMeter, release
from benchmarks.system.timing import summary
from zoo.manifest import api
from zoo.models.supervision import supervision
from zoo.training import distributed, initial_weights, recipe
from zoo.training.coco_folder import CocoFolder
from zoo.training.config import TrainConfig
from zoo.training.dataset import TrainingSet
from zoo.training.distributed import Rank
from zoo.training.layout import find
from zoo.training.log import Step
from zoo.training.setup import initialize
from zoo.training.trainer import Trainer


class Prepared(Trainer):
    """A run on a few batches that are made once."""

    batches_made = 100
    made: list[Any] | None = None

    def loader(self, epoch: int, skip: int) -> DataLoader[Any]:
        """The same batches again and again."""
        if self.made is None:
            self.made = list(islice(super().loader(0, 0), self.batches_made))
        return cycle(self.made)  # type: ignore[return-value]


def measure(name: str, setting: TrainingConfig | None = None) -> Record | None:
    """Train `name` for as long as the protocol says. Returns the record, on the first process only.

    Raises UnknownModel, NotTrainable, DataError, Diverged, UsageError.
    """
    setting = setting or TrainingConfig()
    protocol = chosen(setting)
    with distributed.joined(setting.device) as rank, environment.float32_as(setting.tf32):
        release(rank.device)
        run = make_run(name, setting, protocol, rank)
        memory = MemoryMeter(rank.device).start()
        with Conditions(rank.device, processes=rank.world) as conditions:
            steps = list(tqdm(islice(endless(run), protocol.iterations), total=protocol.iterations, disable=None))
        peaks = distributed.gathered(memory.read(), rank)
        if not rank.first:
            return None
        return Record(
            model=name,
            kind="training",
            protocol=protocol.name,
            parameters=describe(name, protocol, setting, run),
            metrics={**numbers(steps[protocol.skipped :], run), **largest(peaks)},
            samples=samples(steps),
            environment=environment.describe(rank.device),
            conditions=conditions.read,
            manifest=api.version(name),
        )


def make_run(name: str, setting: TrainingConfig, protocol: Protocol, rank: Rank) -> Trainer:
    """A training of the network with its own recipe, ready for its first step."""
    description, entry = api.architecture(name), api.representative(name)
    known, needed = api.dataset(entry.dataset).classes, supervision(description)
    folder: Any
    if setting.data is None:
        folder = Generated(known, needed)
    else:
        kind = "instances" if needed.keypoints is None else "person_keypoints"
        files = find(setting.data, kind=kind)
        if needed.semantic and rank.first:
            print(f"bench: {name} also learns semantic maps; with --data it is trained without.", file=sys.stderr)
        folder = CocoFolder(*files, masks=needed.masks, pixel_center=needed.keypoints)
    settings = recipe.default(description, entry.training)
    data = TrainingSet(folder, api.preprocessing(name), settings.augmentation, 0, settings.epochs)
    config = TrainConfig(
        name=name,
        annotations=Path(),
        images=Path(),
        out=Path(),
        start=setting.weights,
        batch_size=setting.batch,
        accumulate=setting.accumulate,
        precision=setting.precision,
        workers=setting.workers,
    )
    network = initial_weights.with_classes(description, len(known), len(folder.classes))
    run = (Prepared if protocol.prepared else Trainer)(config, rank, network, data, settings)
    if isinstance(run, Prepared):
        run.batches_made = protocol.prepared
    if setting.weights != "random":
        initialize(run, description)
    run.prepare()
    return run


def endless(run: Trainer) -> Iterator[Step]:
    """Steps without end: a small dataset is gone through as often as needed."""
    run.schedule.total = 2**60
    return run.steps()


def numbers(steps: Sequence[Step], run: Trainer) -> dict[str, Any]:
    """Seconds per iteration, images per second over all processes, and where the time went."""
    seconds, waited = [step.seconds for step in steps], [step.data_seconds for step in steps]
    images_at_once = run.config.batch_size * run.config.accumulate * run.rank.world
    return {
        "iteration_s": fmean(seconds),
        "images_per_second": images_at_once / fmean(seconds),
        "data_s": fmean(waited),
        "compute_s": fmean(seconds) - fmean(waited),
        **summary(seconds, "iteration_ms"),
        "iterations": len(steps),
    }


def largest(peaks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The largest peak of each kind over all processes; None where no process could read it."""
    return {key: greatest([peak[key] for peak in peaks]) for key in peaks[0]}


def greatest(values: Sequence[Any]) -> Any:
    """The largest number; of other values the first one."""
    numeric = [value for value in values if isinstance(value, (int, float))]
    return max(numeric, default=values[0])


def samples(steps: Sequence[Step]) -> dict[str, list[float]]:
    """Times and losses of every iteration, also of those that do not count."""
    curves = {name: [step.losses.get(name, 0.0) for step in steps] for name in steps[0].losses}
    times = {"iteration_s": [step.seconds for step in steps], "data_s": [step.data_seconds for step in steps]}
    return times | curves


def describe(name: str, protocol: Protocol, setting: TrainingConfig, run: Trainer) -> dict[str, Any]:
    """Everything that was chosen."""
    defined = PROTOCOLS[protocol.name]
    values = {key: getattr(protocol, key) for key in ("iterations", "skipped", "prepared")}
    return {
        **values,
        "departs_in": sorted(key for key, value in values.items() if value != getattr(defined, key)),
        "source": protocol.source,
        "batch": setting.batch,
        "accumulate": setting.accumulate,
        "processes": run.rank.world,
        "precision": "tf32" if setting.tf32 and setting.precision == "fp32" else setting.precision,
        "workers": setting.workers,
        "weights": setting.weights,
        "images": f"{len(run.data)} generated" if setting.data is None else f"{len(run.data)} from {setting.data}",
        "optimizer": run.recipe.optimizer,
        "learning_rate": run.recipe.learning_rate,
        **({"semantic_maps": setting.data is None} if supervision(api.architecture(name)).semantic else {}),
    }
