"""Where the files of a dataset in COCO's layout are, and which ones a network learns from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from zoo.errors import DataError


def find(folder: Path, split: str = "train", kind: str = "instances") -> tuple[Path, Path]:
    """(annotation file, folder of images) of a split, in COCO's layout with or without the year.

    kind: beginning of the file's name, `instances` or `person_keypoints`. Raises DataError naming what was looked for.
    """
    names = [f"{split}2017", split]
    files = [folder / "annotations" / f"{kind}_{name}.json" for name in names]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise DataError(f"neither {files[0]} nor {files[1]} exists; `zoo train` also takes --annotations and --images.")
    places = [folder / name for name in names] + [folder / "images" / name for name in names]
    return file, next((place for place in places if place.is_dir()), folder)


def keypoints_of(description: Mapping[str, Any]) -> dict[str, float]:
    """`pixel_center` of a network that learns keypoints; nothing of any other."""
    head = description.get("roi_head") or {}
    keypoints = head.get("keypoint_head") if isinstance(head, dict) else None
    return {} if keypoints is None else {"pixel_center": keypoints.get("pixel_center", 0.5)}
