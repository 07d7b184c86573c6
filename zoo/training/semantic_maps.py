"""Classes of all pixels beside the images, for heads that segment whole images (HTC, SCNet, Panoptic FPN)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from zoo.errors import DataError, UsageError
from zoo.models.criteria.segmentation import UNKNOWN


@dataclass(frozen=True)
class ClassMaps:
    """A folder of gray PNG files named like the images, a class per pixel, 255 where it is unknown.

    So are COCO's `stuffthingmaps`. classes: how many the network knows.
    """

    folder: Path
    classes: int

    def of(self, image: str, size: tuple[int, int]) -> NDArray[np.uint8]:
        """The classes (H, W) of an image, by its file name. size: the image's (h, w). Raises DataError."""
        path = (self.folder / image).with_suffix(".png")
        result: Any = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        if result is None:
            raise DataError(f"{path} cannot be read; it should hold the classes of the pixels of {image}.")
        if result.dtype != np.uint8 or result.shape != size:
            raise DataError(f"{path} is not a gray 8-bit image of {size[1]} x {size[0]} pixels, as {image} is.")
        known = result[result != UNKNOWN]
        if known.size and known.max() >= self.classes:
            raise DataError(f"{path} has class {known.max()}; the network knows 0 to {self.classes - 1}, and 255.")
        classes: NDArray[np.uint8] = result
        return classes


def class_maps(folder: Path, classes: int | None, name: str) -> ClassMaps:
    """The maps in a folder for a network that distinguishes so many classes of pixels.

    Raises UsageError for one that does not learn them (None), or where there is no such folder.
    """
    if classes is None:
        raise UsageError(f"{name} has no head that learns semantic maps; leave --semantic out.")
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; it should hold a PNG file for each image.")
    return ClassMaps(folder, classes)
