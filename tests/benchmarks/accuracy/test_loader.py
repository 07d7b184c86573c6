"""Images are prepared ahead, in order, and never more of them than memory should hold."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest
import torch

from benchmarks.accuracy import loader
from benchmarks.datasets.request import DatasetImage
from zoo.errors import UnreadableImage
from zoo.structures import Sample

IMAGES = [DatasetImage(number, Path(f"{number}.jpg")) for number in range(40)]


class Preprocess:
    """Makes a sample whose size tells the image's number, and counts."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.calls, self.lock = seconds, 0, threading.Lock()

    def __call__(self, path: Path) -> Sample:
        with self.lock:
            self.calls += 1
        time.sleep(self.seconds)
        side = int(path.stem) + 1
        return Sample(torch.ones(3, side, 2), (side, 2), (1.0, 1.0), (side, 2))


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_come_in_order_and_complete(workers: int) -> None:
    batches = list(loader.load(loader.group(IMAGES, 7), Preprocess(), workers))
    assert [image.id for batch in batches for image in batch.images] == list(range(40))
    assert [len(batch.samples) for batch in batches] == [7] * 5 + [5]


def test_no_more_than_two_batches_per_worker_wait_however_slow_the_model_is() -> None:
    preprocess = Preprocess()
    batches = loader.load(loader.group(IMAGES, 1), preprocess, workers=2)
    for taken in range(1, 11):
        next(batches)
        time.sleep(0.01)
        assert preprocess.calls <= taken + 4
    batches.close()  # type: ignore[attr-defined]


def test_workers_prepare_side_by_side() -> None:
    began = time.perf_counter()
    list(loader.load(loader.group(IMAGES[:16], 1), Preprocess(seconds=0.1), workers=8))
    assert time.perf_counter() - began < 1.0


def test_padding_is_on_the_right_and_below() -> None:
    (batch,) = loader.load(loader.group(IMAGES[:3], 3), Preprocess())
    assert batch.padded().shape == (3, 3, 3, 2)
    assert batch.padded().sum(dim=(1, 2, 3)).tolist() == [6, 12, 18]
    assert (batch.padded()[0, :, 1:] == 0).all()


def test_an_error_stops_the_workers_and_names_the_image() -> None:
    def fail(path: Path) -> Sample:
        raise UnreadableImage(f"{path}: does not decode")

    before = threading.active_count()
    with pytest.raises(UnreadableImage, match=r"^0\.jpg"):
        list(loader.load(loader.group(IMAGES, 1), fail, workers=3))
    time.sleep(0.2)
    assert threading.active_count() <= before + 1
