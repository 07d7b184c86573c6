"""Batches of annotated images and images without annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from zoo.errors import UsageError
from zoo.models.views import Unlabeled
from zoo.training.dataset import Prepared, TrainingSet, collate
from zoo.training.sampler import Batches, Key
from zoo.training.views import PreparedViews, UnlabeledSet, collate_views

UNLABELED_PART = 4 / 5  # of the images of a batch


class MixedBatch(NamedTuple):
    """What `SoftTeacher.losses` takes, in its order."""

    images: Tensor
    sizes: list[tuple[int, int]]
    targets: list[dict[str, Tensor]]
    proposals: None
    unlabeled: Unlabeled | None

    def to(self, device: torch.device) -> MixedBatch:
        """The same on another device."""
        targets = [{key: value.to(device, non_blocking=True) for key, value in t.items()} for t in self.targets]
        unlabeled = None if self.unlabeled is None else self.unlabeled.to(device)
        return MixedBatch(self.images.to(device, non_blocking=True), self.sizes, targets, None, unlabeled)


class MixedSet(Dataset[Any]):
    """Two sets as one; a key is (whether without annotations, the image's own key)."""

    def __init__(self, labeled: TrainingSet, unlabeled: UnlabeledSet) -> None:
        self.labeled, self.unlabeled = labeled, unlabeled

    def __getitem__(self, key: tuple[bool, Key]) -> Prepared | PreparedViews:
        return self.unlabeled[key[1]] if key[0] else self.labeled[key[1]]


def collate_mixed(samples: Sequence[Prepared | PreparedViews]) -> MixedBatch:
    """Both kinds of images as one batch."""
    labeled = collate([s for s in samples if isinstance(s, Prepared)])
    return MixedBatch(*labeled, None, collate_views([s for s in samples if isinstance(s, PreparedViews)]))


class MixedBatches:
    """Batches of one epoch, in which every image of both sets comes up at least once.

    The smaller set begins again where it ends, in another order and with other augmentations. sizes: of both sets.
    """

    def __init__(
        self,
        sizes: tuple[Sequence[tuple[int, int]], Sequence[tuple[int, int]]],
        batch: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        skip: int = 0,
    ) -> None:
        self.sources = list(zip(sizes, shares(batch), (seed, seed + 1)))
        self.common, self.skip = (epoch, rank, world), skip
        self.steps = max(len(self.once(source, 0)) for source in self.sources)

    def __len__(self) -> int:
        return self.steps - self.skip

    def __iter__(self) -> Iterator[list[tuple[bool, Key]]]:
        pairs = zip(*(self.stream(source) for source in self.sources))
        for labeled, unlabeled in islice(pairs, self.skip, self.steps):
            yield [*((False, key) for key in labeled), *((True, key) for key in unlabeled)]

    def once(self, source: Any, repeat: int) -> Batches:
        """One pass through a set."""
        sizes, images, seed = source
        epoch, rank, world = self.common
        return Batches(sizes, images, seed, epoch, rank, world, repeat=repeat)

    def stream(self, source: Any) -> Iterator[list[Key]]:
        """Batches of a set without end."""
        return (row for repeat in count() for row in self.once(source, repeat))


def shares(batch: int) -> tuple[int, int]:
    """How many images of a batch are with and without annotations. Raises UsageError for too small a batch."""
    unlabeled = int(batch * UNLABELED_PART)
    if not unlabeled:
        raise UsageError("A batch has images with and without annotations, so that it needs at least two images.")
    return batch - unlabeled, unlabeled
