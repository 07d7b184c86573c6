"""A run from its first step, or the saved one, to the published checkpoint.

from zoo.training.fit import train
train(TrainConfig("retinanet_r50_fpn_1x_coco", annotations, images, out=Path("work")))
"""

from __future__ import annotations

from pathlib import Path

from tqdm import tqdm

from zoo.training import distributed, publish
from zoo.training.checkpointing import Best, meta, save_state
from zoo.training.config import TrainConfig
from zoo.training.log import Step, TrainingLog
from zoo.training.setup import make_trainer
from zoo.training.trainer import Trainer
from zoo.training.validation import validate


def train(config: TrainConfig) -> Path | None:
    """Train as configured. Returns the published checkpoint, on rank 0 only.

    Raises UnknownModel, NotTrainable, DataError, Diverged, UsageError.
    """
    with distributed.joined(config.device) as rank:
        return fit(make_trainer(config, rank))


def fit(trainer: Trainer) -> Path | None:
    """All steps, with log, validation and states on the way, then the published file (its path on rank 0).

    A finished run that is resumed publishes nothing again: the path is that of its file, as long as that exists.
    """
    config, schedule, first = trainer.config, trainer.schedule, trainer.rank.first
    title = config.title or config.name.replace("/", "_")
    done_before = schedule.finished
    publish.make_folder(config.out)
    if first:
        publish.remove_leftovers(config.out)
    log = TrainingLog(config.out / "log.json", schedule.done, schedule.per_epoch) if first else None
    best = Best(trainer) if first else None
    bar = tqdm(total=schedule.total, initial=schedule.done, unit="it", disable=None if first else True)
    for step in trainer.steps():
        bar.update()
        if log is not None and best is not None:
            log_step(trainer, log, best, step)
        if schedule.should_run(config.save_every):
            save_state(trainer, best.metrics if best else None)
    bar.close()
    if not first:
        return None
    if done_before and (path := publish.published_before(trainer.result, config.out, title)) is not None:
        return path
    return publish.publish(trainer.result, meta(trainer), config.out, title)


def log_step(trainer: Trainer, log: TrainingLog, best: Best, step: Step) -> None:
    """Write what is due after a step into the log, and keep the best network."""
    config, schedule = trainer.config, trainer.schedule
    log.add(step)
    if schedule.should_log(config.log_every):
        log.write(trainer.rank.device)
    if config.validation is not None and schedule.should_run(config.validate_every):
        metrics = validate(trainer.result, trainer.data.recipe, *config.validation, trainer.data.folder.classes)
        log.validated(step, metrics)
        best.update(metrics)
