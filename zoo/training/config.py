"""What to train, on what, and how."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from zoo.training.recipe import Recipe


@dataclass(frozen=True)
class TrainConfig:
    """A training run.

    name: a model or an architecture. start: `published` (the model's own weights), `backbone` (what its published
    training started from, or another key of `zoo list --backbones`), `scratch`, or a file with weights of the whole
    network. recipe: by default the model's own. batch_size: images per process and step; accumulate: batches per
    optimizer step. save_every, validate_every: in epochs; 0 for never. validation: annotation file and folder of
    images. unlabeled: folder of images without annotations, for networks that learn from them. semantic: folder of
    semantic maps (`zoo.training.semantic_maps`), for networks that learn them too. title: of the published file.
    """

    name: str
    annotations: Path
    images: Path
    out: Path
    start: str = "published"
    recipe: Recipe | None = None
    batch_size: int = 2
    accumulate: int = 1
    precision: str = "fp32"
    device: str = "cpu"
    workers: int = 0
    seed: int = 0
    resume: bool = False
    log_every: int = 50
    save_every: int = 1
    validation: tuple[Path, Path] | None = None
    validate_every: int = 0
    unlabeled: Path | None = None
    semantic: Path | None = None
    title: str | None = None
