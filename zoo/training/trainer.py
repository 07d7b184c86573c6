"""The trainer: optimizer steps on batches of a training set.

Everything random depends on the seed and on states that are saved, so a run that is killed and resumed computes the
same losses as one that is not (on a CPU to the last bit; on a GPU as far as its kernels repeat themselves).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from math import isfinite
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

from zoo.errors import UsageError, ZooError
from zoo.loading import build, load
from zoo.models.criteria.state import set_epoch
from zoo.models.detectors.base import Detector
from zoo.models.detectors.distilled import Distilled
from zoo.models.detectors.soft_teacher import SoftTeacher
from zoo.training import distributed, initial_weights, state
from zoo.training.config import TrainConfig
from zoo.training.dataset import Batch, TrainingSet, collate
from zoo.training.distributed import Rank
from zoo.training.ema import WeightAverage
from zoo.training.log import Step
from zoo.training.mean_teacher import MeanTeacher
from zoo.training.mixed import MixedBatch, MixedBatches, MixedSet, collate_mixed
from zoo.training.optimizer import make_optimizer, make_scheduler
from zoo.training.recipe import Recipe
from zoo.training.sampler import Batches, multiscale_size
from zoo.training.schedule import Schedule
from zoo.training.views import UnlabeledSet

PRECISIONS = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}


class Diverged(ZooError):
    """The loss is NaN or infinite."""


class Trainer:
    """A network with its data, optimizer and schedule; `steps` trains it.

    description: of the network, with the dataset's number of classes. data: the training set. unlabeled: images without
    annotations, for networks that learn from them too.
    """

    def __init__(
        self,
        config: TrainConfig,
        rank: Rank,
        description: dict[str, Any],
        data: TrainingSet,
        recipe: Recipe,
        unlabeled: UnlabeledSet | None = None,
    ) -> None:
        state.seed_everything(config.seed)
        self.config, self.rank, self.data, self.recipe, self.unlabeled = config, rank, data, recipe, unlabeled
        self.description = initial_weights.unfrozen(description) if config.start == "scratch" else description
        self.network: Detector = build(self.description).to(rank.device)
        distributed.synchronize_norms(self.network, description, rank)
        per_epoch = len(self.batches(0)) // config.accumulate
        if not per_epoch:
            needed = config.batch_size * config.accumulate * rank.world
            raise UsageError(
                f"The dataset has {len(data)} images; one optimizer step needs {needed} (batch size x accumulation x "
                "processes)."
            )
        self.schedule = Schedule(per_epoch, recipe.epochs * per_epoch)

    def prepare(self) -> None:
        """Make what depends on the weights: optimizer, scheduler, average, processes. Call it after loading them."""
        config, device = self.config, self.rank.device
        if isinstance(self.network, Distilled) and self.network.teacher is None and self.network.teacher_name:
            self.network.teach(load(self.network.teacher_name, str(device)))
        self.teacher = None
        if isinstance(self.network, SoftTeacher):
            self.teacher = MeanTeacher(self.network, self.recipe.teacher_momentum, self.recipe.burn_in)
        self.network.train()
        images_per_step = config.batch_size * config.accumulate * self.rank.world
        self.optimizer = make_optimizer(self.network, self.recipe, images_per_step)
        self.scheduler = make_scheduler(self.optimizer, self.recipe, self.schedule.per_epoch)
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "fp16")
        self.average = None if self.recipe.ema is None else WeightAverage(self.network, self.recipe.ema)
        self.losses = distributed.spread(self.network, self.rank)
        state.seed_everything(config.seed + 1 + self.rank.rank)

    @property
    def result(self) -> Detector:
        """The network to validate and publish: the average of the weights where there is one."""
        return self.network if self.average is None else self.average.module

    def steps(self) -> Iterator[Step]:
        """Train from here to the end, one optimizer step at a time. Raises Diverged."""
        while not self.schedule.finished:
            epoch, done = self.schedule.epoch, self.schedule.inside
            self.on_epoch_start(epoch)
            batches = iter(self.loader(epoch, done * self.config.accumulate))
            for _ in range(self.schedule.per_epoch - done):
                yield self.step(batches, epoch)

    def on_epoch_start(self, epoch: int) -> None:
        """Switch what changes between epochs: TOOD's assigner; YOLOX's last epochs add a loss."""
        set_epoch(self.network, epoch)
        head: Any = getattr(self.network, "bbox_head", None)
        if head is not None and self.data.augmentation.mosaic and hasattr(head, "use_l1"):
            head.use_l1 = not self.data.mixes(epoch)

    def batches(self, epoch: int, skip: int = 0) -> Batches | MixedBatches:
        """This process's part of an epoch."""
        sizes, config, rank = self.data.folder.sizes, self.config, self.rank
        order = config.batch_size, config.seed, epoch, rank.rank, rank.world, skip
        return (
            Batches(sizes, *order)
            if self.unlabeled is None
            else MixedBatches((sizes, self.unlabeled.folder.sizes), *order)
        )

    def loader(self, epoch: int, skip: int) -> DataLoader[Any]:
        """The loader of an epoch's batches; its own generator leaves the network's random numbers alone."""
        return DataLoader(
            self.data if self.unlabeled is None else MixedSet(self.data, self.unlabeled),
            batch_sampler=self.batches(epoch, skip),  # type: ignore[arg-type]
            collate_fn=collate if self.unlabeled is None else collate_mixed,  # type: ignore[arg-type]
            num_workers=self.config.workers,
            pin_memory=self.rank.device.type == "cuda",
            generator=torch.Generator().manual_seed(self.config.seed),
            worker_init_fn=one_thread,
        )

    def step(self, batches: Iterator[Any], epoch: int) -> Step:
        """One optimizer step on `accumulate` batches."""
        begun, rate = time.perf_counter(), self.optimizer.param_groups[0]["lr"]
        annotated_only = self.teacher is not None and self.teacher.burning_in(self.schedule.done)
        parts, waited = [], 0.0
        for number, (seconds, batch) in enumerate(timed(islice(batches, self.config.accumulate)), 1):
            waited += seconds
            if annotated_only:
                batch = batch._replace(unlabeled=None)
            parts.append(self.backward(self.resized(batch.to(self.rank.device)), number == self.config.accumulate))
        losses = mean_losses(parts, self.schedule.done + 1)
        self.update()
        self.schedule.done += 1
        return Step(epoch, self.schedule.done, losses, rate, waited, time.perf_counter() - begun)

    def backward(self, batch: Batch | MixedBatch, last: bool) -> dict[str, Tensor]:
        """Add the gradient of one batch; processes exchange gradients with the last one only. Returns the losses."""
        local = last or self.rank.world == 1
        with nullcontext() if local else self.losses.no_sync():  # type: ignore[operator]
            with self.autocast():
                losses: dict[str, Tensor] = self.losses(*batch)
                total = torch.stack([value.sum() for name, value in losses.items() if "loss" in name]).sum()
            self.scaler.scale(total / self.config.accumulate).backward()
        return {**{name: value.detach().sum() for name, value in losses.items()}, "loss": total.detach()}

    def update(self) -> None:
        """Let the optimizer take its step."""
        if self.recipe.clip is not None:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.scheduler.step()
        if self.teacher is not None:
            self.teacher.follow()
        if self.average is not None:
            self.average.update(self.network)

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision where the configuration asks for it."""
        dtype = PRECISIONS[self.config.precision]
        return nullcontext() if dtype is None else torch.autocast(self.rank.device.type, dtype)

    def resized(self, batch: Batch | MixedBatch) -> Batch | MixedBatch:
        """A batch of YOLOX in the size of this iteration, which is the same for all processes."""
        size = multiscale_size(self.network, self.config.seed, self.schedule.done)
        return batch if size is None or isinstance(batch, MixedBatch) else scaled(batch, size)


def scaled(batch: Batch, size: tuple[int, int]) -> Batch:
    """A batch with images of (h, w), and boxes to fit."""
    factors = [new / old for new, old in zip(size, batch.images.shape[2:])]
    images = F.interpolate(batch.images, size=size, mode="bilinear", align_corners=False)
    sizes = [(round(h * factors[0]), round(w * factors[1])) for h, w in batch.sizes]
    scale = batch.images.new_tensor([factors[1], factors[0]] * 2)
    targets = [{k: v * scale if k in ("boxes", "ignored") else v for k, v in t.items()} for t in batch.targets]
    return Batch(images, sizes, targets)


def mean_losses(parts: list[dict[str, Tensor]], iteration: int) -> dict[str, float]:
    """The mean over the batches of a step, as numbers. Raises Diverged."""
    names = list(parts[0])
    values = torch.stack([torch.stack([part[name].float() for name in names]) for part in parts]).mean(0).tolist()
    losses = dict(zip(names, values))
    broken = [name for name, value in losses.items() if "loss" in name and not isfinite(value)]
    if broken:
        raise Diverged(
            f"The loss became NaN or infinite at iteration {iteration} ({', '.join(broken)}). Lower the learning rate "
            "(--lr) or clip gradients (--clip); the states saved before are kept."
        )
    return losses


def timed(batches: Iterator[Any]) -> Iterator[tuple[float, Any]]:
    """Each batch with the seconds that waiting for it took."""
    while True:
        begun = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield time.perf_counter() - begun, batch


def one_thread(worker: int) -> None:
    """OpenCV's own threads do not survive the fork that makes a worker."""
    import cv2

    cv2.setNumThreads(0)
