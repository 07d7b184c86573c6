"""A dataset of the catalog: its layout, its metric, and the reader that opens it."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.datasets.files import DatasetError
from benchmarks.datasets.request import MetricConfig
from zoo.errors import UsageError

if TYPE_CHECKING:
    from benchmarks.datasets.dataset import Dataset


# Images of the part that results are published for. Numbers of fewer images are no published numbers.
IMAGES = {
    **dict.fromkeys(("coco_2017", "coco_2017_person", "coco_2017_person_bicycle_car"), 5000),
    **dict.fromkeys(("coco_2017_keypoints", "coco_2017_panoptic", "lvis_v0.5"), 5000),
    "lvis_v1": 19809,
    "voc_0712": 4952,
    "voc_2012": 5823,
    "cityscapes": 500,
    "wider_face": 3226,
    "crowdhuman": 4370,
    "openimages_v6": 41620,
    "demo": 100,
}


@dataclass(frozen=True)
class Spec:
    """One dataset.

    root: the folder it is expected in, unless one is given. split: the part that results are published for, and
    published: the manifests' name for it.
    layout: path below the root -> what is there; `{split}` stands for the split. measures: what it can evaluate.
    reader: `module:class` below benchmarks.datasets; files: its further arguments, with `{split}` likewise.
    """

    name: str
    title: str
    metric: str
    root: str
    split: str
    published: str
    layout: dict[str, str]
    measures: tuple[str, ...]
    reader: str
    files: dict[str, Any] = field(default_factory=dict)

    def all_images(self, split: str | None, listed: int) -> int:
        """How many images a part has: those that are published, where that is known, else those that are listed."""
        return IMAGES.get(self.name, listed) if split in (None, self.split) else listed

    @property
    def protocols(self) -> bool:
        """Whether COCO's numbers are among its metrics, which can be read in two ways."""
        return self.reader.partition(":")[0] in ("coco", "panoptic", "cityscapes")

    def open(self, root: Path, request: MetricConfig) -> Dataset:
        """The dataset in `root`. Raises DatasetError."""
        self.require_root(root)
        unknown = [measure for measure in request.measures if measure not in self.measures]
        if unknown:
            raise UsageError(f"{self.name} cannot evaluate '{unknown[0]}', only {', '.join(self.measures)}.")
        module, _, reader = self.reader.partition(":")
        make = getattr(import_module(f"benchmarks.datasets.{module}"), reader)
        return make(self.name, root, request, **as_named_in(root, self.with_split(self.files, request.split)))

    def require_root(self, root: Path) -> None:
        """Raise DatasetError where `root` is not a folder."""
        if not root.is_dir():
            raise DatasetError(f"{root} is not a folder. `bench datasets {self.name}` shows what belongs into it.")

    def with_split(self, texts: dict[str, Any], split: str | None = None) -> dict[str, Any]:
        """`texts` with the split's name filled in, in keys and values."""
        chosen = split or self.split
        return {k.replace("{split}", chosen): fill(v, chosen) for k, v in texts.items()}


def as_named_in(root: Path, files: dict[str, Any]) -> dict[str, Any]:
    """COCO's files as a folder names them: users' own have `instances_val.json`, without the year, as for training."""
    dated = files.get("annotations", "")
    plain = dated.replace("2017", "")
    if not dated.endswith("2017.json") or (root / dated).exists() or not (root / plain).is_file():
        return files
    return {key: value.replace("2017", "") if isinstance(value, str) else value for key, value in files.items()}


def fill(value: Any, split: str) -> Any:
    """A text with the split's name filled in; anything else as it is."""
    return value.replace("{split}", split) if isinstance(value, str) else value
