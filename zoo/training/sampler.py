"""In which order images are trained on: a pure function of seed and epoch, so that a resumed run goes on exactly."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.random import Generator, default_rng


class Key(NamedTuple):
    """One image of a run, by its number in the dataset: what its random augmentation depends on.

    repeat: how often the dataset was gone through before in this epoch.
    """

    epoch: int
    number: int
    repeat: int = 0


def generator(seed: int, key: Key) -> Generator:
    """The random numbers of one image in one epoch, whichever process or thread prepares it."""
    return default_rng((seed, *(key if key.repeat else key[:2])))


class Batches:
    """Batches of one epoch for one of `world` processes.

    Upright and wide images come in batches of their own, which saves padding (the reference's GroupSampler); a group
    is filled up to whole batches for every process with images from its beginning. skip: so many batches are
    done already. repeat: how often the dataset was gone through before in this epoch.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        batch: int,
        seed: int,
        epoch: int,
        rank: int = 0,
        world: int = 1,
        skip: int = 0,
        repeat: int = 0,
    ) -> None:
        random = default_rng((seed, epoch, repeat) if repeat else (seed, epoch))
        upright = np.array([height > width for height, width in sizes])
        groups = [np.flatnonzero(upright), np.flatnonzero(~upright)]
        rows = [whole_batches(random.permutation(group), batch * world) for group in groups if len(group)]
        together = random.permutation(np.concatenate(rows))
        self.rows = together[skip:, rank * batch : (rank + 1) * batch]
        self.epoch, self.repeat = epoch, repeat

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[list[Key]]:
        for row in self.rows:
            yield [Key(self.epoch, int(index), self.repeat) for index in row]


def whole_batches(indices: np.ndarray, size: int) -> np.ndarray:
    """(N,) as (batches, size); the last batch is filled up from the beginning."""
    count = -(-len(indices) // size)
    return np.resize(indices, (count, size))


def multiscale_size(network: Any, seed: int, iteration: int) -> tuple[int, int] | None:
    """(h, w) that a network which trains on varying sizes (YOLOX) wants its batches to have in this iteration.

    The sides are `random_size_range` times `size_multiplier`, drawn anew every `random_size_interval` iterations after
    the first ones, which are left as they are. None where there is nothing to change.
    """
    interval = getattr(network, "random_size_interval", None)
    if interval is None or iteration < interval:
        return None
    random = default_rng((seed, 1, iteration // interval))
    low, high = network.random_size_range
    factor = int(random.integers(low, high + 1))
    height, width = network.input_size
    unit = network.size_multiplier
    return unit * factor, unit * int(factor * width / height)
