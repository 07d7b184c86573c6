"""The trainer: from a plan to a checkpoint in the published format.

    zoo.train.train(TrainConfig("retinanet_r50_fpn_1x_coco", annotations, images, out=Path("work")))

A run is a sequence of steps of the optimizer. Everything random depends on the seed and on states that are saved, so a
run that is killed and resumed computes the same losses as one that is not (on a CPU to the last bit; on a GPU as far
as its kernels repeat themselves).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader
from tqdm import tqdm

from zoo.errors import UsageError, ZooError
from zoo.loading import build, load
from zoo.manifest import api
from zoo.models.criteria.state import remembered, remind, set_epoch
from zoo.models.detectors.base import Detector
from zoo.models.detectors.distilled import Distilled
from zoo.training import distributed, initial_weights, publish, recipe, state
from zoo.training.coco_folder import CocoFolder
from zoo.training.dataset import Augmentation, Batch, TrainingSet, collate
from zoo.training.distributed import Rank
from zoo.training.ema import WeightAverage
from zoo.training.layout import keypoints_of
from zoo.training.log import Journal, Step
from zoo.training.optimizer import make_optimizer, make_scheduler
from zoo.training.recipe import Recipe
from zoo.training.sampler import Batches, multiscale_size
from zoo.training.semantic_maps import class_maps
from zoo.training.validation import validate

PRECISIONS = {"fp32": None, "fp16": torch.float16, "bf16": torch.bfloat16}
LATEST = "latest.pth"


class Diverged(ZooError):
    """A loss is no finite number any more."""


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on what, and how.

    name: a model or an architecture. start: `published` (the model's own weights), `backbone` (what its published
    training started from, or another key of `zoo list --backbones`), `scratch`, or a file with weights of the whole
    network. recipe: by default the model's own. batch: images per process and step; accumulate: so many batches make
    one step of the optimizer. save_every, validate_every: in epochs; 0 for never. validation: annotation file and
    folder of images. semantic: folder of classes of all pixels (`zoo.training.class_maps`), for networks that learn
    them too. title: of the published file.
    """

    name: str
    annotations: Path
    images: Path
    out: Path
    start: str = "published"
    recipe: Recipe | None = None
    batch: int = 2
    accumulate: int = 1
    precision: str = "fp32"
    device: str = "cpu"
    workers: int = 0
    seed: int = 0
    resume: bool = False
    log_every: int = 50
    save_every: int = 1
    validation: tuple[Path, Path] | None = None
    validate_every: int = 0
    semantic: Path | None = None
    title: str | None = None


def train(plan: TrainConfig) -> Path | None:
    """Train as planned. Returns the published checkpoint, on the first process only.

    Raises UnknownModel, NotTrainable, DataError, Diverged, UsageError.
    """
    place = distributed.join(plan.device)
    try:
        return Run.of(plan, place).to_the_end()
    finally:
        distributed.leave()


class Run:
    """A training run at some point of its way; `steps` takes it further.

    description: of the network, with the data's number of classes. data: what is trained on.
    """

    def __init__(
        self, plan: TrainConfig, place: Rank, description: dict[str, Any], data: TrainingSet, settings: Recipe
    ) -> None:
        state.seed_everything(plan.seed)
        self.plan, self.place, self.data, self.recipe = plan, place, data, settings
        self.description = initial_weights.unfrozen(description) if plan.start == "scratch" else description
        self.network: Detector = build(self.description).to(place.device)
        distributed.synchronize_norms(self.network, description, place)
        self.per_epoch = len(self.batches(0)) // plan.accumulate
        if not self.per_epoch:
            raise UsageError(f"{len(data)} images are not enough for one step of {plan.accumulate} batches.")
        self.done, self.total = 0, settings.epochs * self.per_epoch

    @classmethod
    def of(cls, plan: TrainConfig, place: Rank) -> Run:
        """A run that is ready to begin, or to go on where it was stopped."""
        description, entry = api.architecture(plan.name), api.representative(plan.name)
        maps = None if plan.semantic is None else class_maps(plan.semantic, description)
        wanted: dict[str, Any] = {"masks": needs_masks(description), "maps": maps, **keypoints_of(description)}
        folder = CocoFolder(plan.annotations, plan.images, **wanted)
        settings = plan.recipe or recipe.default(description, entry.training)
        if maps and settings.augmentation.mosaic:
            raise UsageError("mosaic puts images together, but not the classes of their pixels.")
        data = TrainingSet(folder, api.preprocessing(plan.name), settings.augmentation, plan.seed, settings.epochs)
        before = len(api.dataset(entry.dataset).classes)
        run = cls(plan, place, initial_weights.with_classes(description, before, len(folder.classes)), data, settings)
        if not (plan.resume and run.latest.is_file()):
            run.initialize(description)
        run.prepare()
        if plan.resume and run.latest.is_file():
            run.resume()
        return run

    def initialize(self, published: dict[str, Any]) -> None:
        """Load the weights that the plan starts from. published: the description that they were made for."""
        from zoo.download.fetch import fetch

        start, path = self.plan.start, Path(self.plan.start)
        if start == "published":
            initial_weights.from_detector(self.network, fetch(self.plan.name), published)
        elif path.is_file():
            initial_weights.from_detector(self.network, path, published)
        elif start != "scratch":
            key = api.representative(self.plan.name).training.backbone if start == "backbone" else start
            if key is None:
                raise UsageError(f"nothing says what {self.plan.name} started from; give a backbone's key or scratch.")
            initial_weights.from_backbone(self.network, fetch(key))

    def prepare(self) -> None:
        """Make what changes with the weights: optimizer, schedule, averages, processes."""
        plan, device = self.plan, self.place.device
        if isinstance(self.network, Distilled) and self.network.teacher is None and self.network.teacher_name:
            self.network.teach(load(self.network.teacher_name, str(device)))
        self.network.train()
        together = plan.batch * plan.accumulate * self.place.world
        self.optimizer = make_optimizer(self.network, self.recipe, together)
        self.scheduler = make_scheduler(self.optimizer, self.recipe, self.per_epoch)
        self.scaler = torch.amp.GradScaler(device.type, enabled=plan.precision == "fp16")
        self.average = None if self.recipe.ema is None else WeightAverage(self.network, self.recipe.ema)
        self.losses = distributed.spread(self.network, self.place)
        state.seed_everything(plan.seed + 1 + self.place.rank)

    # Going forward

    def steps(self) -> Iterator[Step]:
        """Train from here to the end, a step at a time."""
        while self.done < self.total:
            epoch, skip = divmod(self.done, self.per_epoch)
            self.enter(epoch)
            batches = iter(self.loader(epoch, skip * self.plan.accumulate))
            for _ in range(self.per_epoch - skip):
                yield self.step(batches, epoch)

    def enter(self, epoch: int) -> None:
        """What changes from one epoch to another: TOOD's assignment; YOLOX's last ones have one more loss."""
        set_epoch(self.network, epoch)
        head: Any = getattr(self.network, "bbox_head", None)
        if head is not None and self.data.augmentation.mosaic and hasattr(head, "use_l1"):
            head.use_l1 = not self.data.mixes(epoch)

    def batches(self, epoch: int, skip: int = 0) -> Batches:
        """This process's part of an epoch."""
        sizes, plan, place = self.data.folder.sizes, self.plan, self.place
        return Batches(sizes, plan.batch, plan.seed, epoch, place.rank, place.world, skip)

    def loader(self, epoch: int, skip: int) -> DataLoader[Any]:
        """What prepares the batches; its own generator keeps it from touching the network's random numbers."""
        return DataLoader(
            self.data,
            batch_sampler=self.batches(epoch, skip),  # type: ignore[arg-type]
            collate_fn=collate,
            num_workers=self.plan.workers,
            pin_memory=self.place.device.type == "cuda",
            generator=torch.Generator().manual_seed(self.plan.seed),
            worker_init_fn=one_thread,
        )

    def step(self, batches: Iterator[Batch], epoch: int) -> Step:
        """One step of the optimizer on `accumulate` batches."""
        begun, rate = time.perf_counter(), self.optimizer.param_groups[0]["lr"]
        parts, waited = [], 0.0
        for number, (seconds, batch) in enumerate(timed(islice(batches, self.plan.accumulate)), 1):
            waited += seconds
            parts.append(self.backward(self.resized(batch.to(self.place.device)), number == self.plan.accumulate))
        self.update()
        self.done += 1
        losses = self.checked(parts)
        return Step(epoch, self.done, losses, rate, waited, time.perf_counter() - begun)

    def backward(self, batch: Batch, last: bool) -> dict[str, Tensor]:
        """Add the gradient of one batch; processes exchange gradients with the last one only. Returns the losses."""
        quiet = nullcontext() if last or self.place.world == 1 else self.losses.no_sync()  # type: ignore[operator]
        with quiet:
            with self.autocast():
                losses: dict[str, Tensor] = self.losses(*batch)
                total = torch.stack([value.sum() for name, value in losses.items() if "loss" in name]).sum()
            self.scaler.scale(total / self.plan.accumulate).backward()
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
        if self.average is not None:
            self.average.update(self.network)

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision where the plan says so."""
        dtype = PRECISIONS[self.plan.precision]
        return nullcontext() if dtype is None else torch.autocast(self.place.device.type, dtype)

    def resized(self, batch: Batch) -> Batch:
        """YOLOX's batches change their size every few steps; the same on all processes."""
        size = multiscale_size(self.network, self.plan.seed, self.done)
        if size is None:
            return batch
        factors = [new / old for new, old in zip(size, batch.images.shape[2:])]
        images = F.interpolate(batch.images, size=size, mode="bilinear", align_corners=False)
        sizes = [(round(h * factors[0]), round(w * factors[1])) for h, w in batch.sizes]
        scale = batch.images.new_tensor([factors[1], factors[0]] * 2)
        targets = [{k: v * scale if k in ("boxes", "ignored") else v for k, v in t.items()} for t in batch.targets]
        return Batch(images, sizes, targets)

    def checked(self, parts: list[dict[str, Tensor]]) -> dict[str, float]:
        """The mean over the batches of a step, as numbers. Raises Diverged."""
        names = list(parts[0])
        values = torch.stack([torch.stack([part[name].float() for name in names]) for part in parts]).mean(0).tolist()
        losses = dict(zip(names, values))
        if not torch.tensor(losses["loss"]).isfinite():
            raise Diverged(
                f"the loss is {losses['loss']} in iteration {self.done}: lower the learning rate or clip gradients."
            )
        return losses

    # Stopping and going on

    @property
    def latest(self) -> Path:
        """Where the state is kept."""
        return self.plan.out / LATEST

    def identity(self) -> dict[str, Any]:
        """What must not change between a run and its continuation."""
        plan = self.plan
        chosen = {"name": plan.name, "batch": plan.batch, "accumulate": plan.accumulate, "precision": plan.precision}
        return {**chosen, "processes": self.place.world, "seed": plan.seed, "recipe": repr(self.recipe)}

    def save(self) -> None:
        """Write the whole state, whole or not at all. Every process must call this."""
        states = distributed.gathered(state.random_state(self.place.device), self.place)
        memories = distributed.gathered(remembered(self.network), self.place)
        if not self.place.first:
            return
        training = {
            "done": self.done,
            "identity": self.identity(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": states,
            "memories": memories,
            "average": None if self.average is None else [self.average.module.state_dict(), self.average.steps],
        }
        content = {"meta": self.meta(), "state_dict": self.network.state_dict(), "training": training}
        publish.save(self.latest, content)

    def resume(self) -> None:
        """Go on from the saved state. Raises UsageError where the plan is another one."""
        content = state.read_state(self.latest)
        training = content["training"]
        for key, value in self.identity().items():
            if training["identity"].get(key) != value:
                raise UsageError(f"{self.latest} was made with {key} {training['identity'].get(key)}, not {value}.")
        self.network.load_state_dict(content["state_dict"])
        self.optimizer.load_state_dict(training["optimizer"])
        self.scheduler.load_state_dict(training["scheduler"])
        self.scaler.load_state_dict(training["scaler"])
        if self.average is not None:
            weights, self.average.steps = training["average"]
            self.average.module.load_state_dict(weights)
        remind(self.network, training["memories"][self.place.rank])
        self.done = training["done"]
        state.restore_random(training["random"][self.place.rank], self.place.device)

    def meta(self) -> dict[str, Any]:
        """What a checkpoint says about itself."""
        facts = {"epoch": self.done // self.per_epoch, "iter": self.done, "time": time.strftime("%Y-%m-%d %H:%M:%S")}
        return publish.make_meta(self.description, self.data.recipe, self.data.folder.classes, **facts)

    def to_the_end(self) -> Path | None:
        """All steps, with log and states on the way, then the published file."""
        plan, first = self.plan, self.place.first
        plan.out.mkdir(parents=True, exist_ok=True)
        journal = Journal(plan.out / "log.json", self.done, self.per_epoch) if first else None
        bar = tqdm(total=self.total, initial=self.done, unit="it", disable=None if first else True)
        for step in self.steps():
            bar.update()
            if journal is not None:
                self.note(journal, step)
            if self.due(plan.save_every):
                self.save()
        bar.close()
        return (
            publish.publish(self.result, self.meta(), plan.out, plan.title or plan.name.replace("/", "_"))
            if first
            else None
        )

    def note(self, journal: Journal, step: Step) -> None:
        """Write what is due about a step into the log."""
        journal.add(step)
        if step.iteration % self.plan.log_every == 0 or step.iteration % self.per_epoch == 0:
            journal.write(self.place.device)
        if self.plan.validation is not None and self.due(self.plan.validate_every):
            journal.validated(step, validate(self.result, self.data.recipe, *self.plan.validation))

    def due(self, epochs: int) -> bool:
        """Whether something that is done every so many epochs is to be done now, after a step."""
        return bool(epochs) and (self.done % (epochs * self.per_epoch) == 0 or self.done == self.total)

    @property
    def result(self) -> Detector:
        """What is validated and published: the average of the weights where there is one."""
        return self.network if self.average is None else self.average.module


def needs_masks(description: dict[str, Any]) -> bool:
    """Whether the network learns from masks."""
    text = repr(description)
    return any(word in text for word in ("mask_head", "mask_feature_head", "SOLO", "YOLACT", "RTMDetIns", "SparseInst"))


def timed(batches: Iterator[Batch]) -> Iterator[tuple[float, Batch]]:
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


Settings = TypeVar("Settings", Recipe, Augmentation)


def overridden(settings: Settings, **changes: Any) -> Settings:
    """The settings with every change that is not None."""
    return replace(settings, **{key: value for key, value in changes.items() if value is not None})
