"""Which networks a benchmark runs on: those named, else those in the cache, else two with random weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zoo
from zoo.cli.checkpoint_files import means_file
from zoo.errors import UnknownModel, UsageError

if TYPE_CHECKING:
    from zoo.models.detectors.base import Detector

# One single-stage and one two-stage network that a laptop's CPU can run.
EMBEDDED = ("yolox_tiny_8x8_300e_coco", "faster_rcnn_r50_fpn_1x_coco")


@dataclass(frozen=True)
class Target:
    """A network to measure. load() may take long and may fail. weights: "published", "random" or a file's name.

    facts: fields of its records. parameters: further parameters of its records. dataset: what an exported file says
    that it was published for.
    """

    name: str
    weights: str
    load: Callable[[], Detector]
    facts: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    dataset: str | None = None


def choose(names: Sequence[str], checkpoint: str | Path | None = None, random_weights: bool = False) -> list[Target]:
    """The networks that a command line asks for. Raises UnknownModel for a name that is nowhere."""
    if checkpoint is not None:
        if not Path(checkpoint).is_file():
            raise UsageError(f"{checkpoint} does not exist.")
        return [of_file(Path(checkpoint), known(names[0]) if names else None)]
    if not names and not random_weights:
        names = cached()
    if not names:
        return [randomly(name) for name in EMBEDDED]
    return [randomly(known(name)) if random_weights else by_name(name) for name in names]


def known(name: str) -> str:
    """The name of a model or an architecture as it is. Raises UnknownModel for any other."""
    from zoo.manifest.api import architecture_name

    architecture_name(name)
    return name


def by_name(name: str) -> Target:
    """A model with its published weights; an architecture that is not a model, or has no weights, with random ones.

    The name of an existing file that is not a model's name is a checkpoint of the user's own.
    """
    from zoo.manifest.api import architecture_names, version

    if means_file(name) and Path(name).is_file():
        return of_file(Path(name), None)
    try:
        entry = zoo.get(name)
    except UnknownModel:
        if name not in architecture_names():
            raise
        return randomly(name)
    if entry.checkpoint is None:
        return randomly(entry.name)
    facts = {"checkpoint": entry.checkpoint.sha256, "manifest": version(entry.name)}
    return Target(entry.name, "published", lambda: zoo.load(entry.name), facts)


def randomly(name: str) -> Target:
    """A freshly initialized network, the same at every call."""
    from zoo.manifest.api import version

    def load() -> Detector:
        import torch

        torch.manual_seed(0)
        return zoo.build(name)

    return Target(name, "random", load, {"manifest": version(name)})


def of_file(path: Path, name: str | None) -> Target:
    """A checkpoint of the user's own."""
    from hashlib import sha256

    digest = sha256(path.read_bytes()).hexdigest() if path.is_file() else None
    return Target(name or path.stem, path.name, lambda: zoo.load_file(path, name), {"checkpoint": digest})


def cached() -> list[str]:
    """Names of the models whose verified files are in the local cache."""
    from zoo.download.fetch import cached_path

    return [name for name in zoo.list_models() if cached_path(zoo.get(name)) is not None]
