"""Files, folders and patterns on a command line -> images."""

from __future__ import annotations

import glob
from collections.abc import Iterable
from pathlib import Path

from zoo.errors import UnreadableImage

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


def find(given: str) -> list[Path]:
    """The images that one argument means: a file, all images in a folder, or all files that match a pattern.

    Raises UnreadableImage where there is none.
    """
    path = Path(given)
    if path.is_dir():
        result = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES)
        if not result:
            raise UnreadableImage(f"{given}: there are no images in this folder ({', '.join(sorted(SUFFIXES))})")
        return result
    if path.exists():
        return [path]
    result = [Path(name) for name in sorted(glob.glob(given, recursive=True)) if Path(name).is_file()]
    if not result:
        raise UnreadableImage(f"{given}: there is no such file or folder, and nothing matches it as a pattern")
    return result


def output_names(paths: Iterable[Path]) -> dict[Path, str]:
    """A name for each image's drawing: its own, with a number where another one has it; PNG for unusual formats."""
    names: dict[Path, str] = {}
    taken: set[str] = set()
    for path in paths:
        suffix = path.suffix if path.suffix.lower() in (".jpg", ".jpeg", ".png", ".webp") else ".png"
        name, number = path.stem + suffix, 1
        while name in taken:
            number += 1
            name = f"{path.stem}_{number}{suffix}"
        names[path] = name
        taken.add(name)
    return names
