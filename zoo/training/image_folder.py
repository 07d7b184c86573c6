"""A folder of images without annotations."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from zoo.coco_format.image_files import natural_order
from zoo.coco_format.sizes import READERS, file_size
from zoo.errors import DataError
from zoo.preprocessing.preprocess import read_image

SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"}


class ImageFolder:
    """The images in a folder and those below it.

    sizes: (h, w) of each. digest: SHA-256 of their names and sizes. Raises DataError for a folder without any,
    UnreadableImage for a file that is no image or not all of one.
    """

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder.")
        paths = [path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file()]
        self.paths = sorted(paths, key=lambda path: natural_order(path.relative_to(folder).as_posix()))
        if not self.paths:
            raise DataError(f"{folder} has no images ({', '.join(sorted(SUFFIXES))}).")
        with ThreadPoolExecutor(READERS) as pool:  # files may lie far away
            self.sizes = [size for size in pool.map(file_size, self.paths, chunksize=64) if size is not None]
        names = [path.relative_to(folder).as_posix() for path in self.paths]
        self.digest = sha256(repr(list(zip(names, self.sizes))).encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        """An image, (H, W, 3) BGR. Raises UnreadableImage."""
        return read_image(self.paths[index])
