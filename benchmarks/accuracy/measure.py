"""Accuracy of a model on a dataset: an image in, detections out, the dataset's own metric over all of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from tqdm import tqdm

from benchmarks.accuracy import loader, sharding
from benchmarks.datasets import panoptic, panoptic_results
from benchmarks.datasets.coco_results import coco_results
from benchmarks.datasets.dataset import Dataset
from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.panoptic import CocoPanoptic
from benchmarks.datasets.predictions import Predictions, compact
from benchmarks.datasets.request import DatasetImage, ImageId
from benchmarks.datasets.resampling import Resampled
from benchmarks.system import environment
from benchmarks.system.memory import Trimmer
from zoo.errors import UsageError, ZooError
from zoo.models.detectors.base import Detector
from zoo.structures import Detections
from zoo.system.atomic_write import atomic_path


@dataclass(frozen=True)
class Accuracy:
    """What was measured.

    metrics: numbers by name, 0 to 1. images: how many. listed: how many the dataset lists. predictions: what the
    metric looked at. notices: sentences that a reader of the numbers has to know. resampled: the metrics of datasets
    drawn from the images.
    """

    metrics: dict[str, float]
    images: int
    listed: int
    predictions: Mapping[ImageId, Predictions] = field(repr=False)
    notices: list[str] = field(default_factory=list)
    resampled: Resampled | None = field(default=None, repr=False)


def measure(
    model: Detector,
    dataset: Dataset,
    *,
    device: str | torch.device = "cpu",
    batch_size: int = 1,
    workers: int = 0,
    limit: int | None = None,
    progress: bool | None = None,
) -> Accuracy | None:
    """Run `model` over `dataset` and evaluate; under torchrun the processes share the work and rank 0 has the answer.

    model: as `zoo.load` gives it; only its `preprocess` and `predict` are used. limit: the first images only.
    progress: a bar on stderr; None shows it on a terminal. Raises UnreadableImage for an image that does not decode.
    """
    images, notices = present(dataset)
    images = images[:limit]
    with sharding.process_group():
        groups = sharding.shard(loader.group(images, batch_size))
        mine = collect(model, groups, device, workers, progress)
        predictions = sharding.gather(mine, [image.id for image in images])
    if predictions is None:
        return None
    if not any(len(one.scores) or one.packed_panoptic for one in predictions.values()):
        notices.append("The model detected nothing in any image.")
    metrics, counts = dataset.evaluate(predictions), (len(predictions), len(dataset.images))
    resampled = dataset.resample(predictions)
    return Accuracy(metrics, *counts, predictions, notices, resampled)


def present(dataset: Dataset) -> tuple[list[DatasetImage], list[str]]:
    """The images whose files are there, and what is to be said about the dataset. Raises DatasetError without any."""
    images = [image for image in dataset.images if image.path.exists()]
    if not dataset.images:
        raise UsageError(f"{dataset.name} in {dataset.root} has no images to evaluate.")
    if not images:
        raise DatasetError(
            f"none of the dataset's {len(dataset.images):,} images exists, {dataset.images[0].path} first."
        )
    if missing_files := [path for path in dataset.ground_truth_files() if not path.exists()]:
        raise DatasetError(f"{len(missing_files):,} files of the ground truth do not exist, {missing_files[0]} first.")
    notices = list(dataset.notices)
    if missing := len(dataset.images) - len(images):
        first = next(image.path for image in dataset.images if not image.path.exists())
        notices.append(f"{missing:,} of {len(dataset.images):,} images do not exist and are left out, {first} first.")
    return images, notices


def collect(
    model: Detector,
    groups: Sequence[Sequence[DatasetImage]],
    device: str | torch.device,
    workers: int = 0,
    progress: bool | None = None,
) -> dict[ImageId, Predictions]:
    """What the model finds in each image, by image id."""
    if model.preprocess is None:
        raise UsageError("this network knows no preprocessing: load it by a model's name, or set .preprocess")
    predictions: dict[ImageId, Predictions] = {}
    trim, center = Trimmer(), getattr(model, "pixel_center", 0.5)
    hide = True if sharding.world()[0] else (None if progress is None else not progress)
    with (
        tqdm(total=sum(map(len, groups)), unit="img", disable=hide) as bar,
        environment.full_precision(),
        torch.inference_mode(),
    ):
        for batch in loader.load(groups, model.preprocess, workers):
            detections = detect(model, batch, torch.device(device))
            for image, one in zip(batch.images, detections):
                require_finite(one, image.path)
                predictions[image.id] = compact(one, center)
            bar.update(len(batch.images))
            trim()
    return predictions


def require_finite(detections: Detections, path: Path) -> None:
    """Raise ZooError for a box or score that is NaN or infinite."""
    for name, values in (("score", detections.scores), ("box", detections.boxes)):
        if not torch.isfinite(values).all():
            raise ZooError(f"{path}: the model gives a {name} that is NaN or infinite, so there is no accuracy.")


def detect(model: Detector, batch: loader.Batch, device: torch.device) -> list[Detections]:
    """What is in a batch's images, in their own pixels.

    An image alone goes the way of `model.detect`, with whatever its published accuracy was measured with.
    """
    if len(batch.samples) == 1:
        return [model.detect_sample(batch.samples[0], torch.empty(0, device=device))]
    return model.predict(batch.padded().to(device), [sample.geometry for sample in batch.samples])


def write_results(dataset: Dataset, predictions: Mapping[ImageId, Predictions], path: Path) -> None:
    """COCO results as JSON, masks as RLE, and panoptic maps as NAME_panoptic.json with its folder of PNGs.

    Each appears only when it is whole.
    """
    if isinstance(dataset, CocoPanoptic) and any(one.packed_panoptic for one in predictions.values()):
        panoptic.write(dataset, predictions, panoptic_results.path_beside(path))
    # Row by row: all rows at once take 25 times the memory of the detections.
    with atomic_path(path) as part, part.open("w") as file:
        file.write("[")
        for number, row in enumerate(coco_results(predictions, dataset.category_ids)):
            file.write((", " if number else "") + json.dumps(row))
        file.write("]")
