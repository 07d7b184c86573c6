"""What the zoo knows about one model, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote


@dataclass(frozen=True)
class Paper:
    """Where the method was published."""

    title: str
    url: str


@dataclass(frozen=True)
class Checkpoint:
    """A file of weights.

    path: below each mirror's root, or a complete URL for a file elsewhere. urls: of the file on each mirror, in order.
    sha256: the whole digest or its published first 8 hex digits; None if nothing was published. md5: likewise for
    Detectron2, whose file names carry a part of the MD5. file: a local file instead of `path`; with a digest it is
    verified and cached like a download, without one it is used in place.
    """

    path: str = ""
    urls: tuple[str, ...] = ()
    sha256: str | None = None
    md5: str | None = None
    format: str = "mmdet-v2"
    file: Path | None = None

    @property
    def own_file(self) -> Path | None:
        """The local file where there is nothing to fetch and nothing to verify."""
        return None if self.sha256 or self.md5 else self.file

    @property
    def filename(self) -> str:
        """The last part of the path."""
        return self.file.name if self.file else self.path.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class Training:
    """How the weights were trained. memory_gb: per GPU, as published. batch_size: over all GPUs.

    backbone: key of the backbone weights that training started from. start: the model that it started from.
    seconds_per_iteration, images_per_second: the published training speed.
    """

    schedule: str | None = None
    epochs: int | None = None
    iterations: int | None = None
    memory_gb: float | None = None
    batch_size: int | None = None
    hardware: str | None = None
    data: str | None = None
    optimizer: str | None = None
    learning_rate: float | None = None
    precision: str | None = None
    backbone: str | None = None
    start: str | None = None
    seconds_per_iteration: float | None = None
    images_per_second: float | None = None


@dataclass(frozen=True)
class Speed:
    """One published inference speed. resolution: (height, width)."""

    fps: float
    hardware: str | None = None
    batch: int = 1
    precision: str = "fp32"
    resolution: tuple[int, int] | None = None


@dataclass(frozen=True)
class ReceptiveFields:
    """Dilations that a search found, which the published weights need on top of the architecture (RF-Next).

    dilations: of convolutions by name, 1 for others. skip: convolutions whose name contains one of these texts keep
    theirs. branches: 2 where weights are for two dilations around the searched one.
    """

    dilations: Mapping[str, int]
    skip: tuple[str, ...] = ()
    branches: int = 1


@dataclass(frozen=True)
class Substitute:
    """Other weights of the same method, for when a model's own cannot be had. name: of a model of the zoo, or a title.

    metrics: metric -> value in percent, on the dataset of the model that it stands in for. url: where they are.
    """

    name: str
    metrics: Mapping[str, float]
    license: str | None = None
    url: str | None = None


@dataclass(frozen=True)
class Entry:
    """One model of the zoo.

    Attributes:
        name: Its name, unique in the zoo.
        family: The method family.
        architecture: The name of its network's description; None if there is none.
        checkpoint: The file of weights; None if the reference has a configuration but published no weights.
        log_url: The training log, as published.
        log_urls: The training log on every mirror.
        normalization: Name of a normalization in the manifests.
        preprocessing: Name of a recipe in the manifests.
        dataset: Name of a dataset in the manifests.
        tasks: Tasks, such as `object detection`.
        metrics: Dataset and split -> metric -> value in percent as published, such as
            `{"coco_2017_val": {"box_ap": 37.4}}`.
        training: How the weights were trained.
        speed: Published speeds.
        paper: Where the method was published.
        license: License of the weights.
        notes: What users must know.
        aliases: Other names.
        origin: The project that published the weights.
        config: The reference's configuration file.
        superseded: Older files of this model.
        alternates: Other files of the same weights.
        substitutes: Other weights of the same method.
        receptive_fields: Dilations that the weights need on top of the architecture.
        parameters: Number of parameters of the network.
        source: The manifest file that describes the model.
    """

    name: str
    family: str
    architecture: str | None
    checkpoint: Checkpoint | None
    log_url: str | None
    log_urls: tuple[str, ...]
    normalization: str
    preprocessing: str
    dataset: str
    tasks: tuple[str, ...]
    metrics: Mapping[str, Mapping[str, float]]
    training: Training
    speed: tuple[Speed, ...]
    paper: Paper | None
    license: str | None
    notes: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    origin: str = "mmdetection"
    config: str | None = None
    superseded: tuple[Checkpoint, ...] = ()
    alternates: tuple[Checkpoint, ...] = ()
    substitutes: tuple[Substitute, ...] = ()
    receptive_fields: ReceptiveFields | None = None
    parameters: int | None = None
    source: Path = field(default=Path(), compare=False)

    def metric(self, key: str) -> float | None:
        """Look up a published metric.

        Args:
            key: Name of the metric, such as `box_ap`.

        Returns:
            The value on the first dataset that has it, in percent; None if none has.
        """
        return next((values[key] for values in self.metrics.values() if key in values), None)


@dataclass(frozen=True)
class Mirror:
    """A host that serves published files below `url`, which ends in a slash.

    lacks: glob patterns of paths that are known to be missing there. original: the host of the published links. files:
    the only files that are there, by their paths below `url`. renamed: likewise, published file name -> path.
    """

    name: str
    url: str
    lacks: tuple[str, ...] = ()
    original: bool = False
    files: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    note: str | None = None

    @cached_property
    def listed(self) -> dict[str, str]:
        """File name -> path below `url`, for a mirror that has certain files only."""
        return {**{file_name(path): path for path in self.files}, **self.renamed}


def file_name(path: str) -> str:
    """The last part of a path or URL, without its encoding."""
    return unquote(path.rsplit("/", 1)[-1])


@dataclass(frozen=True)
class Dataset:
    """A dataset that models were trained for. classes: names in label order."""

    name: str
    title: str
    classes: tuple[str, ...]
    url: str | None = None
    metric: str | None = None
    splits: Mapping[str, Any] = field(default_factory=dict)
    stuff_classes: tuple[str, ...] = ()
    license: str | None = None
    note: str | None = None


@dataclass(frozen=True)
class Backbone:
    """Weights that training started from. normalization: the convention they expect."""

    key: str
    url: str | None
    source: str
    normalization: str | None = None
    sha256: str | None = None
    license: str | None = None
    note: str | None = None
