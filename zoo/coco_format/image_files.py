"""Where the images of an annotation file lie, and how large they are."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from zoo.errors import UnreadableImage
from zoo.preprocessing.image_file import require_regular

ORIENTATION = 0x0112  # EXIF's tag
LYING = (5, 6, 7, 8)  # its values for images that are turned by a quarter


def portable(file_name: str) -> str:
    """A path with slashes, as Windows' paths may be written too."""
    return file_name.replace("\\", "/")


def find_images(folder: Path, file_names: Sequence[str]) -> list[Path]:
    """The file of each image: below `folder`, beside it where the name repeats the folder, or there by its last part.

    By its last part only where no other image ends in the same. Below `folder` for those that are nowhere.
    """
    names = [portable(name) for name in file_names]
    times = Counter(name.rpartition("/")[2] for name in names)
    return [find_image(folder, name, times[name.rpartition("/")[2]] == 1) for name in names]


def find_image(folder: Path, name: str, alone: bool) -> Path:
    """One of them. alone: whether its last part is enough."""
    candidates = [folder / name, folder.parent / name, *([folder / name.rpartition("/")[2]] if alone else [])]
    return next((path for path in candidates if os.path.isfile(path)), candidates[0])


def natural_order(file_name: str) -> tuple[tuple[int, int, str], ...]:
    """A key that sorts names as people count: `9.jpg` before `10.jpg`; by the file first, then by its folder."""
    folder, _, name = portable(file_name).rpartition("/")
    pieces = [*re.split(r"(\d+)", name), "/", *re.split(r"(\d+)", folder)]
    return tuple((1, int(piece), piece) if piece.isdecimal() else (0, 0, piece) for piece in pieces)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height), from the file's header, of the image as it is read: turned as its EXIF entry says.

    Raises UnreadableImage.
    """
    require_regular(path)
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(ORIENTATION) in LYING
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableImage(f"{path}: does not decode as an image ({error})") from None
    return (height, width) if turned else (width, height)
