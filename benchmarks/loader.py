"""Pictures read and preprocessed ahead of the model, in batches, in order.

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

from benchmarks.datasets.request import Picture
from zoo.structures import Frame, Sample

Preprocess = Callable[[Path], Sample]


class Batch(NamedTuple):
    """pictures: N of them. images: (N, 3, H, W), each padded with zeros on the right and below to the largest.

    frames: where each picture's content lies in `images`; models must ignore the rest; published are numbers for N = 1.
    """

    pictures: Sequence[Picture]
    images: Tensor
    frames: list[Frame]


def group(pictures: Sequence[Picture], batch_size: int) -> list[Sequence[Picture]]:
    """Consecutive groups of `batch_size`, the last one maybe smaller."""
    return [pictures[start : start + batch_size] for start in range(0, len(pictures), batch_size)]


def load(groups: Sequence[Sequence[Picture]], preprocess: Preprocess, workers: int = 0) -> Iterator[Batch]:
    """Each group's batch in order; `workers` threads prepare them ahead, two for each, so memory stays flat.

    Raises UnreadableImage for a picture that does not decode.
    """
    if not workers:
        for pictures in groups:
            yield prepare(pictures, preprocess)
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


def prepare(pictures: Sequence[Picture], preprocess: Preprocess) -> Batch:
    """Pictures of different sizes as one batch."""
    samples = [preprocess(picture.path) for picture in pictures]
    height, width = (max(sample.image.shape[side] for sample in samples) for side in (1, 2))
    images = samples[0].image.new_zeros((len(samples), 3, height, width))
    for canvas, sample in zip(images, samples):
        canvas[:, : sample.image.shape[1], : sample.image.shape[2]] = sample.image
    return Batch(pictures, images, [sample.frame for sample in samples])
