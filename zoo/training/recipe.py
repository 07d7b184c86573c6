"""How to train, by default as the reference trains the family; every part may be chosen otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from zoo.manifest.entry import Training
from zoo.training.dataset import Augmentation

SCHEDULES = {"1x": 12, "2x": 24, "3x": 36, "20e": 20, "300e": 300}  # epochs


@dataclass(frozen=True)
class Recipe:
    """optimizer: SGD or AdamW. learning_rate: for `batch` images in an optimizer step, scaled in proportion.

    plain_weights: no weight decay for biases and normalization. backbone_rate: factor of the backbone's learning rate.
    decay: step (a tenth after each of `steps`, parts of the epochs), cosine (YOLOX's), flat_cosine (RTMDet's: constant
    for the first half), or constant. warmup: iterations; warmup_ratio: where the linear (or, with warmup_power 2,
    quadratic) warm-up begins. clip: greatest gradient norm. ema: momentum of the average of weights, None for none.
    last_rate: cosine's end, as a part of the learning rate. teacher_momentum, burn_in: what
    `zoo.training.mean_teacher` takes, for networks that have a teacher of their own.
    """

    optimizer: str = "SGD"
    learning_rate: float = 0.02
    batch: int = 16
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 0.0001
    plain_weights: bool = False
    backbone_rate: float = 1.0
    epochs: int = 12
    decay: str = "step"
    steps: tuple[float, ...] = (2 / 3, 11 / 12)  # after 8 and 11 of 12 epochs, after 16 and 22 of 24
    warmup: int = 500
    warmup_ratio: float = 0.001
    warmup_power: int = 1
    last_rate: float = 0.05
    clip: float | None = None
    ema: float | None = None
    teacher_momentum: float = 0.001
    burn_in: int = 0
    augmentation: Augmentation = field(default_factory=Augmentation)


TRANSFORMER = Recipe(
    optimizer="AdamW", learning_rate=1e-4, backbone_rate=0.1, clip=0.1, warmup=0, epochs=50, steps=(0.8,)
)
MASK_TRANSFORMER = replace(TRANSFORMER, clip=0.01, weight_decay=0.05, steps=(8 / 9, 26 / 27))

# The reference's settings where they are not the common ones, by the detector's type.
BY_TYPE: dict[str, Recipe] = {
    "YOLOX": Recipe(
        learning_rate=0.01,
        batch=64,
        nesterov=True,
        weight_decay=5e-4,
        plain_weights=True,
        epochs=300,
        decay="cosine",
        warmup_power=2,
        warmup_ratio=0.0,
        ema=0.0001,
        augmentation=Augmentation(mosaic=True, mixup=True),
    ),
    "RTMDet": Recipe(
        optimizer="AdamW",
        learning_rate=0.004,
        batch=256,
        weight_decay=0.05,
        plain_weights=True,
        epochs=300,
        decay="flat_cosine",
        warmup=1000,
        warmup_ratio=1e-5,
        ema=0.0002,
        augmentation=Augmentation(mosaic=True, mixup=True, plain_epochs=20),
    ),
    "CondInst": Recipe(learning_rate=0.01),
    "BoxInst": Recipe(learning_rate=0.01),
    "SparseInst": Recipe(optimizer="AdamW", learning_rate=5e-5, batch=64, weight_decay=0.05),
    "EfficientDet": Recipe(
        learning_rate=0.16,
        batch=128,
        weight_decay=4e-5,
        plain_weights=True,
        epochs=300,
        decay="cosine",
        warmup=917,
        warmup_ratio=0.1,
        last_rate=0.01,
        clip=10.0,
        ema=0.0002,
    ),
    "DiffusionDet": Recipe(
        optimizer="AdamW", learning_rate=2.5e-5, clip=1.0, warmup=1000, warmup_ratio=0.01, steps=(7 / 9, 14 / 15)
    ),
    # 180,000 steps are 54 epochs of the images without annotations that 10% of COCO leave over.
    "SoftTeacher": Recipe(
        learning_rate=0.01,
        batch=40,
        epochs=54,
        steps=(2 / 3, 8 / 9),
        augmentation=Augmentation(scales=((1333, 400), (1333, 1200)), mode="range", random_color=True),
    ),
    "DETR": replace(TRANSFORMER, steps=(2 / 3,)),
    "ConditionalDETR": TRANSFORMER,
    "DABDETR": TRANSFORMER,
    "DINO": replace(TRANSFORMER, epochs=12, steps=(11 / 12,)),
    "CoDETR": replace(TRANSFORMER, learning_rate=2e-4, epochs=12, steps=(11 / 12,)),
    "DDQDETR": replace(
        TRANSFORMER, learning_rate=2e-4, weight_decay=0.05, warmup=2000, warmup_ratio=1e-4, epochs=12, steps=(11 / 12,)
    ),
    "MaskFormer": replace(MASK_TRANSFORMER, weight_decay=1e-4, epochs=75, steps=(2 / 3,)),
    "Mask2Former": MASK_TRANSFORMER,
    "DeformableDETR": replace(TRANSFORMER, learning_rate=2e-4),
    "SparseRCNN": replace(TRANSFORMER, learning_rate=2.5e-5, backbone_rate=1.0, clip=1.0, warmup=1000, epochs=12),
    "FCOS": Recipe(learning_rate=0.01, clip=35.0, warmup_ratio=1 / 3),
    "SOLO": Recipe(learning_rate=0.01, warmup_ratio=1 / 3),
    "SOLOv2": Recipe(learning_rate=0.01, clip=35.0, warmup_ratio=1 / 3),
    "SingleStageDetector": Recipe(
        learning_rate=0.002, batch=64, weight_decay=5e-4, epochs=24, augmentation=Augmentation(photometric=True)
    ),
}


def default(description: Mapping[str, Any], published: Training | None = None) -> Recipe:
    """The recipe of a detector's type, with what the manifest says of this model."""
    recipe = BY_TYPE.get(description["type"], Recipe())
    if published is None:
        return recipe
    stated: dict[str, Any] = {
        "optimizer": published.optimizer if published.optimizer in ("SGD", "AdamW") else None,
        "learning_rate": published.learning_rate,
        "batch": published.batch_size,
        "epochs": published.epochs,
    }
    return replace(recipe, **{key: value for key, value in stated.items() if value is not None})


Settings = TypeVar("Settings", Recipe, Augmentation)


def overridden(settings: Settings, **changes: Any) -> Settings:
    """The settings with every change that is not None."""
    return replace(settings, **{key: value for key, value in changes.items() if value is not None})
