"""What data sets there are: layout, metric, and which reader opens them."""

from __future__ import annotations

import difflib
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.layout import DatasetError, UnknownDataset
from benchmarks.datasets.request import Request

if TYPE_CHECKING:
    from benchmarks.datasets import Dataset


@dataclass(frozen=True)
class Spec:
    """One data set.

    root: the folder it is expected in, unless one is given. split: the part that results are published for, and
    published: the manifests' name for it.
    layout: path below the root -> what is there; `{split}` stands for the split.
    reader: `module:class` below benchmarks.datasets; files: its further arguments, with `{split}` likewise.
    """

    name: str
    title: str
    metric: str
    root: str
    split: str
    published: str
    layout: dict[str, str]
    reader: str
    files: dict[str, Any] = field(default_factory=dict)

    def open(self, root: Path, request: Request) -> Dataset:
        """The data set in `root`. Raises DatasetError."""
        self.require_root(root)
        module, _, reader = self.reader.partition(":")
        make = getattr(import_module(f"benchmarks.datasets.{module}"), reader)
        return make(self.name, root, request, **self.with_split(self.files, request.split))

    def require_root(self, root: Path) -> None:
        """Raise DatasetError where `root` is no folder."""
        if not root.is_dir():
            raise DatasetError(f"{root} is not a folder. `bench datasets {self.name}` shows what belongs into it.")

    def with_split(self, texts: dict[str, Any], split: str | None = None) -> dict[str, Any]:
        """`texts` with the split's name filled in, in keys and values."""
        chosen = split or self.split
        return {k.replace("{split}", chosen): fill(v, chosen) for k, v in texts.items()}


def fill(value: Any, split: str) -> Any:
    """A text with the split's name filled in; anything else as it is."""
    return value.replace("{split}", split) if isinstance(value, str) else value


def coco_style(name: str, title: str, root: str, split: str, annotations: str, pictures: str) -> Spec:
    """A data set in COCO's layout with COCO's metric."""
    layout = {annotations: "images, annotations and categories in COCO's format", pictures: "the pictures"}
    files = {"annotations": annotations, "pictures": pictures.rstrip("/") or "."}
    metric = "COCO box and mask AP, proposal recall"
    return Spec(name, title, metric, root, split, f"{name}_{split}", layout, "coco:CocoDataset", files)


SPECS = [
    coco_style(
        "coco_2017",
        "COCO 2017 (and any data set in its layout)",
        "data/coco",
        "val",
        "annotations/instances_{split}2017.json",
        "{split}2017/",
    ),
]

DATASETS = {spec.name: spec for spec in SPECS}


def spec(name: str) -> Spec:
    """The entry called `name`; raises UnknownDataset with the nearest names."""
    if name in DATASETS:
        return DATASETS[name]
    near = difflib.get_close_matches(name, DATASETS, n=3, cutoff=0.4) or list(DATASETS)
    raise UnknownDataset(f"no data set '{name}'. Nearest: {', '.join(near)}; `bench datasets` lists all.")
