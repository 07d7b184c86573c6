"""From a configuration to a trainer that is ready for its next step; whatever does not fit is said here."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from zoo.errors import NotTrainable, UsageError
from zoo.manifest import api
from zoo.models.supervision import Supervision, supervision
from zoo.training import initial_weights, recipe
from zoo.training.checkpointing import LATEST, load_state
from zoo.training.coco_folder import CocoFolder
from zoo.training.config import TrainConfig
from zoo.training.dataset import TrainingSet
from zoo.training.distributed import Rank
from zoo.training.image_folder import ImageFolder
from zoo.training.padded_anchors import with_padded_anchors
from zoo.training.recipe import Recipe
from zoo.training.semantic_maps import class_maps
from zoo.training.trainer import Trainer
from zoo.training.views import UnlabeledSet


def make_trainer(config: TrainConfig, rank: Rank) -> Trainer:
    """A trainer at its first step, or where the saved state was taken.

    Raises UnknownModel, NotTrainable, DataError, UsageError.
    """
    description, entry = api.architecture(config.name), api.representative(config.name)
    needed = supervision(description)
    settings = config.recipe or recipe.default(description, entry.training)
    check(config, needed, settings, rank)
    maps = None if config.semantic is None else class_maps(config.semantic, needed.semantic, config.name)
    folder = CocoFolder(config.annotations, config.images, needed.masks, maps, needed.keypoints)
    steps = api.preprocessing(config.name)
    data = TrainingSet(folder, steps, settings.augmentation, config.seed, settings.epochs)
    before = len(api.dataset(entry.dataset).classes)
    own = initial_weights.with_classes(description, before, len(folder.classes))
    unlabeled = None
    if config.unlabeled is not None:
        unlabeled = UnlabeledSet(ImageFolder(config.unlabeled), steps, settings.augmentation, config.seed)
    trainer = Trainer(config, rank, with_padded_anchors(own, steps), data, settings, unlabeled)
    resuming = config.resume and (config.out / LATEST).is_file()
    if not resuming:
        initialize(trainer, description)
    trainer.prepare()
    if resuming:
        load_state(trainer)
    return trainer


def check(config: TrainConfig, needed: Supervision, settings: Recipe, rank: Rank) -> None:
    """Raise where the network cannot learn from the data that the configuration has."""
    if needed.proposals:
        raise NotTrainable(
            f"{config.name} learns from proposals of another network, which `zoo train` does not have; the same "
            "detector with its own proposals is Faster R-CNN."
        )
    if needed.unlabeled and config.unlabeled is None:
        raise UsageError(
            f"{config.name} learns from images with and without annotations together; pass a folder of the latter: "
            "--unlabeled DIR."
        )
    if config.unlabeled is not None and not needed.unlabeled:
        raise UsageError(f"{config.name} learns from annotated images only; leave --unlabeled out.")
    if config.semantic is not None and settings.augmentation.mosaic:
        raise UsageError("Mosaic does not support semantic maps; pass --no-mosaic.")
    if needed.semantic and config.semantic is None and rank.first:
        print(f"zoo: {config.name} also learns semantic maps; without --semantic it does not.", file=sys.stderr)


def initialize(trainer: Trainer, published: dict[str, Any]) -> None:
    """Load the weights that the configuration starts from. published: the description that they were made for."""
    from zoo.download.fetch import fetch

    name, start = trainer.config.name, trainer.config.start
    if start == "published":
        initial_weights.from_detector(trainer.network, fetch(name), published)
    elif Path(start).is_file():
        initial_weights.from_detector(trainer.network, Path(start), published)
    elif start != "scratch":
        key = api.representative(name).training.backbone if start == "backbone" else start
        if key is None:
            raise UsageError(f"The weights that {name} started from are not known; give a backbone's key or scratch.")
        initial_weights.from_backbone(trainer.network, fetch(key))
