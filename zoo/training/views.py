"""Weak and strong views of an image without annotations, and where its pixels are in them (Xu et al., Soft Teacher,
2021, with the reference's augmentations)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from zoo.models.views import Unlabeled, View
from zoo.preprocessing.batch import pad_to_batch
from zoo.preprocessing.preprocess import resized_size
from zoo.preprocessing.recipe import Preprocessing, Resize
from zoo.training.augmentation.colors import random_color
from zoo.training.augmentation.erasing import erase
from zoo.training.augmentation.homography import Moved, random_move
from zoo.training.dataset import Augmentation, as_tensor, chosen, normalized_or_padded
from zoo.training.image_folder import ImageFolder
from zoo.training.sampler import Key, generator


class PreparedView(NamedTuple):
    """image: (3, H, W) float32, normalized and padded. size: (h, w) before padding. matrix: (3, 3) float32."""

    image: Tensor
    size: tuple[int, int]
    matrix: Tensor


class PreparedViews(NamedTuple):
    """Both views of an image of `original` (h, w)."""

    weak: PreparedView
    strong: PreparedView
    original: tuple[int, int]


@dataclass
class UnlabeledSet(Dataset[PreparedViews]):
    """Images by `Key`; what is random about one depends on seed and key only."""

    folder: ImageFolder
    recipe: Preprocessing
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __len__(self) -> int:
        return len(self.folder)

    def __getitem__(self, key: Any) -> PreparedViews:
        key = Key(*key)
        random, image = generator(self.seed, key), self.folder[key.number]
        weak = view(image, self.recipe, self.augmentation, random, strong=False)
        strong = view(image, self.recipe, self.augmentation, random, strong=True)
        return PreparedViews(weak, strong, (image.shape[0], image.shape[1]))


def view(
    original: NDArray[np.uint8], recipe: Preprocessing, augmentation: Augmentation, random: Generator, strong: bool
) -> PreparedView:
    """Resize, mirror and, in a strong view, distort; then normalize and pad in the recipe's order."""
    moved = Moved(original, np.eye(3))
    image: NDArray[Any] = original
    for step in recipe.steps:
        if isinstance(step, Resize):
            height, width = moved.size
            moved = moved.resized(resized_size(chosen(step, augmentation, random), width, height))
            if random.random() < augmentation.flip:
                moved = moved.mirrored()
            image = moved.image
            if strong:
                moved = distorted(moved, random)
                image = erase(moved.image, random)
        else:
            image = normalized_or_padded(step, image)
    return PreparedView(as_tensor(image), moved.size, torch.from_numpy(moved.matrix.astype(np.float32)))


def distorted(moved: Moved, random: Generator) -> Moved:
    """Another color and another position, in either order."""
    if random.random() < 0.5:
        moved = random_move(moved, random)
        return Moved(random_color(moved.image, random), moved.matrix)
    return random_move(Moved(random_color(moved.image, random), moved.matrix), random)


def collate_views(samples: Sequence[PreparedViews]) -> Unlabeled:
    """Images of different sizes as one batch for each view."""
    weak, strong = together([s.weak for s in samples]), together([s.strong for s in samples])
    return Unlabeled(weak, strong, [s.original for s in samples])


def together(views: Sequence[PreparedView]) -> View:
    """Views of several images as one batch."""
    images, matrices = pad_to_batch([v.image for v in views]), torch.stack([v.matrix for v in views])
    return View(images, [v.size for v in views], matrices)
