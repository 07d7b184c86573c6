"""What is in a checkpoint file, without reading its tensors and without torch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from zoo.checkpoint.formats.open import open_checkpoint
from zoo.checkpoint.state_dict import select, size_of, to_json
from zoo.errors import ZooError
from zoo.text import printable


@dataclass(frozen=True, slots=True)
class Inspection:
    """The facts of one file. tensors: (name, shape, dtype) in the order of the file. nbytes: of all tensors."""

    path: Path
    format: str
    tensors: tuple[tuple[str, tuple[int, ...], str], ...]
    nbytes: int
    meta: dict[str, object]

    @property
    def classes(self) -> list[str] | None:
        """The class names that the metadata lists."""
        facts = self.meta.get("dataset_meta")
        result = facts.get("classes", facts.get("CLASSES")) if isinstance(facts, dict) else self.meta.get("CLASSES")
        return [str(name) for name in result] if isinstance(result, list) else None

    @property
    def version(self) -> str | None:
        """The version of MMDetection that wrote it."""
        result = self.meta.get("mmdet_version") or self.meta.get("mmengine_version")
        return str(result) if result else None

    @property
    def config(self) -> str | None:
        """The text of the training configuration."""
        result = self.meta.get("config") or self.meta.get("cfg")
        return result if isinstance(result, str) else None

    def as_json(self) -> dict[str, object]:
        """Everything as plain data."""
        kinds = Counter(dtype for _, _, dtype in self.tensors)
        return {
            "path": str(self.path),
            "format": self.format,
            "tensors": [{"name": n, "shape": list(s), "dtype": d} for n, s, d in self.tensors],
            "dtypes": dict(kinds),
            "bytes": self.nbytes,
            "classes": self.classes,
            "mmdet_version": self.version,
            "config": self.config,
            "meta": to_json(self.meta),
        }


def inspect(path: str | Path) -> Inspection:
    """Look into a checkpoint. Raises UnsafeCheckpoint, CorruptCheckpoint."""
    contents = open_checkpoint(path)
    try:
        refs, meta = select(contents.root)
    except ZooError as error:
        raise type(error)(f"{path} {printable(str(error))}.") from None
    tensors = tuple((name, ref.shape, ref.dtype) for name, ref in refs.items())
    return Inspection(contents.path, contents.format, tensors, sum(map(size_of, refs.values())), meta)
