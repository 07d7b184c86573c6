"""What a run keeps: its whole state, to resume from, and the best network so far."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from zoo.errors import UsageError
from zoo.models.criteria.state import load_loss_states, loss_states
from zoo.training import distributed, publish, state
from zoo.training.trainer import Trainer

LATEST = "latest.pth"
BEST = "best.pth"
DATA = ("annotations", "unlabeled images")  # told by digests that say nothing to a reader


def identity(trainer: Trainer) -> dict[str, Any]:
    """What must not change between a run and its continuation, by the words in which a difference is told."""
    config = trainer.config
    recipe = {name: value for name, value in asdict(trainer.recipe).items() if name != "augmentation"}
    parts = {**recipe, **{f"augmentation {name}": value for name, value in asdict(trainer.recipe.augmentation).items()}}
    return {
        "name": config.name,
        "batch size": config.batch_size,
        "accumulate": config.accumulate,
        "precision": config.precision,
        "processes": trainer.rank.world,
        "seed": config.seed,
        **{name.replace("_", " "): value for name, value in parts.items()},
        "annotations": trainer.data.folder.digest,
        "unlabeled images": None if trainer.unlabeled is None else trainer.unlabeled.folder.digest,
    }


def save_state(trainer: Trainer, best: Mapping[str, float] | None = None) -> None:
    """Write the whole state, whole or not at all. Every process must call this. best: metric of the best network.

    Raises DataError where it cannot be written.
    """
    random = distributed.gathered(state.random_state(trainer.rank.device), trainer.rank)
    memories = distributed.gathered(loss_states(trainer.network), trainer.rank)
    if not trainer.rank.first:
        return
    average = trainer.average
    training = {
        "done": trainer.schedule.done,
        "identity": identity(trainer),
        "optimizer": trainer.optimizer.state_dict(),
        "scheduler": trainer.scheduler.state_dict(),
        "scaler": trainer.scaler.state_dict(),
        "random": random,
        "memories": memories,
        "average": None if average is None else [average.module.state_dict(), average.steps],
        "best": dict(best or {}),
    }
    content = {"meta": meta(trainer), "state_dict": trainer.network.state_dict(), "training": training}
    publish.save(trainer.config.out / LATEST, content)


def load_state(trainer: Trainer) -> None:
    """Resume from the saved state. Raises UsageError where the run is another one, CorruptCheckpoint."""
    path = trainer.config.out / LATEST
    content = state.read_state(path)
    training = content["training"]
    same_run(path, training["identity"], identity(trainer))
    trainer.network.load_state_dict(content["state_dict"])
    trainer.optimizer.load_state_dict(training["optimizer"])
    trainer.scheduler.load_state_dict(training["scheduler"])
    trainer.scaler.load_state_dict(training["scaler"])
    if trainer.average is not None:
        weights, trainer.average.steps = training["average"]
        trainer.average.module.load_state_dict(weights)
    load_loss_states(trainer.network, training["memories"][trainer.rank.rank])
    trainer.schedule.done = training["done"]
    state.restore_random(training["random"][trainer.rank.rank], trainer.rank.device)


def same_run(path: Path, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise UsageError where a saved run is not this one; it says only what differs."""
    if saved.keys() != now.keys():
        raise UsageError(f"{path} was made by another version of this program. Start in another --out.")
    changed = [key for key, value in now.items() if saved[key] != value]
    if not changed:
        return
    data = " and ".join(key for key in changed if key in DATA)
    if set(changed) <= set(DATA):
        raise UsageError(f"{path} was made with other {data}: the dataset changed since. Start in another --out.")
    listed = ", ".join(f"{key} {saved[key]}, not {now[key]}" for key in changed if key not in DATA)
    also = f" and other {data}" if data else ""
    raise UsageError(f"{path} was made with {listed}{also}. Leave that as it was, or start in another --out.")


def meta(trainer: Trainer) -> dict[str, Any]:
    """A checkpoint's description of itself."""
    schedule = trainer.schedule
    facts = {"epoch": schedule.epoch, "iter": schedule.done, "time": time.strftime("%Y-%m-%d %H:%M:%S")}
    return publish.make_meta(trainer.description, trainer.data.recipe, trainer.data.folder.classes, **facts)


class Best:
    """Keeps the network with the best first metric in `best.pth`, a checkpoint like the published one.

    metrics: of the best network so far, empty before the first validation; a resumed run reads them from its state.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.path = trainer, trainer.config.out / BEST
        resumed = trainer.schedule.done > 0 and self.path.is_file()
        saved = state.read_state(trainer.config.out / LATEST)["training"].get("best", {}) if resumed else {}
        self.metrics: dict[str, float] = saved

    def update(self, metrics: Mapping[str, float]) -> bool:
        """Take the network's metrics in; keep it where it is the best. Returns whether it is."""
        name, value = next(iter(metrics.items()))
        if self.metrics and value <= self.metrics.get(name, float("-inf")):
            return False
        weights = {key: value.detach().cpu() for key, value in self.trainer.result.state_dict().items()}
        publish.save(self.path, {"meta": {**meta(self.trainer), **metrics}, "state_dict": weights})
        self.metrics = dict(metrics)
        return True
