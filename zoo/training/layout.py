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
    folders = [folder / name for name in names] + [folder / "images" / name for name in names]
    return file, next((each for each in folders if each.is_dir()), folder)


def learns_keypoints(description: Mapping[str, Any]) -> bool:
    """Whether a network has a head for keypoints, and so learns from another file of COCO's."""
    return "keypoint_head" in (description.get("roi_head") or {})
