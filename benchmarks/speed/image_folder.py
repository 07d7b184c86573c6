"""The images of a folder."""

from __future__ import annotations

from pathlib import Path

from zoo.errors import UsageError

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


def in_folder(folder: str | Path, limit: int | None = None) -> list[Path]:
    """Image files in `folder`, by name. Raises UsageError when there is none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; --images takes a folder of images.")
    result = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not result:
        raise UsageError(f"{folder} has no images ({', '.join(sorted(SUFFIXES))}).")
    return result[:limit]
