"""Any readable checkpoint file -> a safetensors file."""

from __future__ import annotations

from pathlib import Path

from zoo.checkpoint.read import read
from zoo.checkpoint.save import save
from zoo.errors import UsageError


def convert(source: str | Path, target: str | Path) -> Path:
    """Write any readable checkpoint as safetensors. Raises what `read` raises; UsageError if `target` is `source`."""
    target = Path(target)
    if target.exists() and target.samefile(source):
        raise UsageError(f"{target} would replace the file that it is made from.")
    save(read(source), target)
    return target
