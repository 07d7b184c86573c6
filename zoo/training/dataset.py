"""From an annotated image to what `module.losses` takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from zoo.models.criteria.segmentation import UNKNOWN
from zoo.preprocessing.batch import pad_to_batch
from zoo.preprocessing.normalize import normalize
from zoo.preprocessing.preprocess import pad
from zoo.preprocessing.recipe import Normalize, Pad, Preprocessing, Resize, Step
from zoo.training.augmentation.affine import random_affine
from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.colors import random_color
from zoo.training.augmentation.flip import flip
from zoo.training.augmentation.mixup import mixup
from zoo.training.augmentation.mosaic import mosaic
from zoo.training.augmentation.photometric import distort, shift_hsv
from zoo.training.augmentation.resize import Scale, choose_scale, resize
from zoo.training.coco_folder import CocoFolder
from zoo.training.sampler import Key, generator

# What stands for the pixels beside an image in these parts of its target.
FILLING = {"masks": 0, "semantic": UNKNOWN}


@dataclass(frozen=True)
class Augmentation:
    """What training does to images beside what testing does.

    scales, mode: what `augment.resize.choose_scale` takes; none for the scale of the test recipe. flip: probability.
    photometric: SSD's distortion. random_color: one change of `augmentation.colors`. mosaic: YOLOX's chain (mosaic,
    affine, mixup, colors), for the whole run but the last `plain_epochs`. mixup: whether mixup is part of it.
    affine_scale: range of its factor.
    """

    scales: tuple[Scale, ...] = ()
    mode: str = "value"
    flip: float = 0.5
    photometric: bool = False
    random_color: bool = False
    mosaic: bool = False
    mixup: bool = False
    affine_scale: tuple[float, float] = (0.1, 2.0)
    plain_epochs: int = 15


class Prepared(NamedTuple):
    """image: (3, H, W) float32, normalized and padded. size: (h, w) before padding. target: as `losses` takes it."""

    image: Tensor
    size: tuple[int, int]
    target: dict[str, Tensor]


class Batch(NamedTuple):
    """images: (N, 3, H, W), padded with zeros. sizes, targets: one per image."""

    images: Tensor
    sizes: list[tuple[int, int]]
    targets: list[dict[str, Tensor]]

    def to(self, device: torch.device) -> Batch:
        """The same on another device."""
        targets = [{key: value.to(device, non_blocking=True) for key, value in t.items()} for t in self.targets]
        return Batch(self.images.to(device, non_blocking=True), self.sizes, targets)


@dataclass
class TrainingSet(Dataset[Prepared]):
    """Images by `Key`; what is random about one depends on seed and key only.

    epochs: of the whole run, to know when mosaic ends.
    """

    folder: CocoFolder
    recipe: Preprocessing
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    epochs: int = 0

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, key: Any) -> Prepared:
        key = Key(*key)
        random = generator(self.seed, key)
        image = self.composed(key, random) if self.mixes(key.epoch) else self.folder[key.number]
        return prepare(image, self.recipe, self.augmentation, random)

    def mixes(self, epoch: int) -> bool:
        """Whether images are put together from several in this epoch."""
        return self.augmentation.mosaic and epoch < self.epochs - self.augmentation.plain_epochs

    def composed(self, key: Key, random: Generator) -> AnnotatedImage:
        """YOLOX's chain; without any object left, the image alone."""
        size = input_size(self.recipe)
        others = [self.folder[int(i)] for i in random.integers(len(self.folder), size=4)]
        first = self.folder[key.number]
        image = random_affine(
            mosaic([first, *others[:3]], size, random), size, random, scale=self.augmentation.affine_scale
        )
        if self.augmentation.mixup and len(image.labels):
            image = mixup(image, others[3], size, random)
        image = replace(image, image=shift_hsv(image.image, random))
        return image if len(image.labels) else first


def input_size(recipe: Preprocessing) -> tuple[int, int]:
    """(h, w) of the geometry that images are resized into."""
    step = next((step for step in recipe.steps if isinstance(step, Resize) and step.scale), None)
    return (step.scale[1], step.scale[0]) if step is not None and step.scale else (640, 640)


def prepare(
    annotated: AnnotatedImage, recipe: Preprocessing, augmentation: Augmentation, random: Generator
) -> Prepared:
    """Distort, resize, mirror, then normalize and pad in the recipe's order."""
    if augmentation.photometric:
        annotated = replace(annotated, image=distort(annotated.image, random))
    size = annotated.size
    image: np.ndarray = annotated.image
    for step in recipe.steps:
        if isinstance(step, Resize):
            annotated = resize(annotated, chosen(step, augmentation, random))
            if random.random() < augmentation.flip:
                annotated = flip(annotated)
            if augmentation.random_color:
                annotated = replace(annotated, image=random_color(annotated.image, random))
            image, size = annotated.image, annotated.size
        else:
            image = normalized_or_padded(step, image)
    tensor = as_tensor(image)
    return Prepared(tensor, size, target_of(annotated, (tensor.shape[1], tensor.shape[2])))


def normalized_or_padded(step: Step, image: NDArray[Any]) -> NDArray[Any]:
    """An image (H, W, 3) after a step that keeps its scale."""
    if isinstance(step, Normalize):
        return normalize(image, step.normalization)
    return pad(step, image) if isinstance(step, Pad) else image


def as_tensor(image: NDArray[Any]) -> Tensor:
    """(3, H, W) float32 from an image (H, W, 3)."""
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32))


def chosen(step: Resize, augmentation: Augmentation, random: Generator) -> Resize:
    """The resizing of this image."""
    if not augmentation.scales:
        return step
    return replace(step, scale=choose_scale(augmentation.scales, augmentation.mode, random), factor=None)


def target_of(image: AnnotatedImage, padded: tuple[int, int]) -> dict[str, Tensor]:
    """Boxes, labels, crowds and keypoints where there are any, masks and classes of pixels padded like the image."""
    target = {"boxes": torch.from_numpy(image.boxes), "labels": torch.from_numpy(image.labels)}
    if image.ignored is not None and len(image.ignored):
        target["ignored"] = torch.from_numpy(image.ignored)
    if image.masks is not None:
        target["masks"] = torch.from_numpy(image.masks.astype(bool))
    if image.semantic is not None:
        target["semantic"] = torch.from_numpy(image.semantic)
    if image.keypoints is not None:
        target["keypoints"] = torch.from_numpy(image.keypoints.points)
    return grown(target, *padded)


def collate(samples: Sequence[Prepared]) -> Batch:
    """Images of different sizes as one batch; masks and classes of pixels grow with them."""
    images = pad_to_batch([sample.image for sample in samples])
    height, width = images.shape[-2:]
    return Batch(images, [s.size for s in samples], [grown(s.target, height, width) for s in samples])


def grown(target: dict[str, Tensor], height: int, width: int) -> dict[str, Tensor]:
    """The target with masks and classes of pixels of (height, width)."""
    maps = {key: target[key] for key in FILLING if key in target}
    return target | {key: extended(x, height, width, FILLING[key]) for key, x in maps.items()}


def extended(maps: Tensor, height: int, width: int, value: int) -> Tensor:
    """(..., h, w) to (..., height, width), with a value below and to the right."""
    below = (0, width - maps.shape[-1], 0, height - maps.shape[-2])
    return torch.nn.functional.pad(maps, below, value=value)
