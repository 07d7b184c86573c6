"""Images read and preprocessed ahead of the model, in batches, in order.

Threads, not processes: decoding and resizing leave Python's lock, and forking with OpenCV's thread pool alive hangs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from benchmarks.datasets.request import DatasetImage
from zoo.structures import Sample

Preprocess = Callable[[Path], Sample]


class Batch(NamedTuple):
    """N images and what became of them."""

    images: Sequence[DatasetImage]
    samples: list[Sample]

    def padded(self) -> Tensor:
        """(N, 3, H, W): the samples, each padded with zeros on the right and below to the largest.

        Models must ignore the padding, as the samples' geometries tell; published numbers are for N = 1.
        """
        height, width = (max(sample.image.shape[side] for sample in self.samples) for side in (1, 2))
        images = self.samples[0].image.new_zeros((len(self.samples), 3, height, width))
        for canvas, sample in zip(images, self.samples):
            canvas[:, : sample.image.shape[1], : sample.image.shape[2]] = sample.image
        return images


def group(images: Sequence[DatasetImage], batch_size: int) -> list[Sequence[DatasetImage]]:
    """Consecutive groups of `batch_size`, the last one maybe smaller."""
    return [images[start : start + batch_size] for start in range(0, len(images), batch_size)]


def load(groups: Sequence[Sequence[DatasetImage]], preprocess: Preprocess, workers: int = 0) -> Iterator[Batch]:
    """Each group's batch in order; `workers` threads prepare them ahead, two for each, so memory stays flat.

    Raises UnreadableImage for an image that does not decode.
    """
    if not workers:
        for images in groups:
            yield prepare(images, preprocess)
        return
    waiting = iter(groups)
    pool = ThreadPoolExecutor(workers)
    try:
        ahead: deque[Future[Batch]] = deque(pool.submit(prepare, g, preprocess) for g in islice(waiting, 2 * workers))
        while ahead:
            batch = ahead.popleft().result()
            ahead.extend(pool.submit(prepare, g, preprocess) for g in islice(waiting, 1))
            yield batch
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def prepare(images: Sequence[DatasetImage], preprocess: Preprocess) -> Batch:
    """One batch. Raises UnreadableImage."""
    return Batch(images, [preprocess(image.path) for image in images])
