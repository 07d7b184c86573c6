"""Panoptic results in COCO's format: a JSON document, and beside it a folder of PNGs whose colors are segment ids."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from zoo.errors import UsageError, ZooError

VOID = -1  # the id of pixels where nothing was found


def path_beside(path: Path) -> Path:
    """Where panoptic results go, given the file for boxes and masks."""
    return path.with_name(f"{path.stem}_panoptic.json")


def require_empty(path: Path) -> None:
    """Raise UsageError where the folder beside `path` is there and holds something."""
    folder = path.with_suffix("")
    if folder.exists() and any(folder.iterdir()):
        raise UsageError(f"{folder} is not empty; panoptic results go into a folder of their own.")


def write_image(ids: NDArray[np.int64], kinds: Mapping[int, int], path: Path) -> list[dict[str, Any]]:
    """Write one image's PNG, with segments numbered from 1 and void 0; returns its `segments_info`.

    ids: (H, W) segment ids or VOID. kinds: category id of each segment.
    """
    present, numbered = np.unique(np.append(ids, VOID), return_inverse=True)
    numbers = numbered[:-1].reshape(ids.shape)  # VOID, the smallest, becomes 0
    colors = np.stack([numbers >> 16, numbers >> 8 & 255, numbers & 255], axis=-1).astype(np.uint8)  # BGR
    if not cv2.imwrite(str(path), colors):
        raise ZooError(f"{path} cannot be written.")
    areas = np.bincount(numbers.reshape(-1), minlength=len(present))
    return [
        {"id": number, "category_id": kinds[int(present[number])], "area": int(areas[number])}
        for number in range(1, len(present))
    ]
