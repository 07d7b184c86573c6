"""What follows from a model's family and the name of its file, and need not be stated.

Published file names end in the first digits of their hash and begin with the folder they lie in:

    v2.0/retinanet/retinanet_r50_fpn_1x_coco/retinanet_r50_fpn_1x_coco_20200130_002941-c2398f9e.pth
    FOLDER         NAME                      NAME                      TIME            HASH

so `checkpoint: retinanet_r50_fpn_1x_coco_20200130_002941-c2398f9e.pth` says where it is, what its hash is and, by its
time, what its training log is called. Names of models tell their short names and, up to the schedule of the training,
their networks. A field that is stated wins over one that is derived.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

_METRICS = r"(?:_(?:bbox|segm)_mAP-.*?)?"  # some names carry the accuracy
_PUBLISHED = re.compile(rf"(?P<name>.+?){_METRICS}(?:[_-](?P<time>\d{{8}}(?:_\d{{6}})?))?(?:pth)?-[0-9a-f]{{8}}\.pth")
_SHA256 = re.compile(r"-([0-9a-f]{8})\.pth(?:\.tar)?$")
_MD5 = re.compile(r"_([0-9a-f]{6})\.pkl$")  # Detectron2's
# What short names leave out: batch layout, FPN, the usual schedule and dataset, and details of names.
_IN_LONG_NAMES_ONLY = re.compile(r"_\d+x\d+(?=_)|_fpn(?=_|$)|_1x(?=_|$)|_coco$|_c3-c5|(?<=hrnet)v2p")
_MULTI_SCALE = r"(?:_mstrain(?:-poly)?(?:_\d+-\d+)?)?"
_SCHEDULE = re.compile(_MULTI_SCALE + r"_(?:2x|3x|6x|20e|24e|36e|50e|100e|300e)(?=_|$)")
_STATED_SCHEDULE = re.compile(r"_(\d(?=x)|\d+(?=e))([xe])(?:_|$)")
_DETECTRON2_ZOO = re.compile(r"/detectron2/([^/]+/[^/]+)/\d+/")
_BACKBONE_SOURCES = {
    "open-mmlab": "mmcv v1.7.2 open_mmlab.json",
    "mmcls": "mmcv v1.7.2 mmcls.json",
    "http": "URL or path in 2.x configs",
    "https": "URL or path in 2.x configs",
}
_BACKBONE_FOLDERS = {
    "open-mmlab": "https://download.openmmlab.com/pretrain/third_party/",
    "mmcls": "https://download.openmmlab.com/mmclassification/v0/",
}
_BACKBONE_LICENSES = {"mmcls": "Apache-2.0", "torchvision": "BSD-3-Clause"}
CODE_LICENSES = {"mmdetection": "Apache-2.0", "detectron2": "Apache-2.0", "torchvision": "BSD-3-Clause"}
"""Of the code that published a model: origin -> license."""


_TASKS = {"box_ap": "object detection", "mask_ap": "instance segmentation", "pq": "panoptic segmentation"}


class Publisher(NamedTuple):
    """Whose file it is. folder: below each mirror's root, where files without a path lie in folders of their own."""

    origin: str
    family: str
    folder: str | None = None

    def folder_of(self, file: str) -> str:
        """The folder of a published file that is stated by its name alone."""
        match = _PUBLISHED.fullmatch(file)
        name = match["name"] if match else file.removesuffix(".pth")
        return f"{self.folder or f'v2.0/{quote(self.family)}'}/{name}"


def aliases(name: str, stated: str | Mapping[str, Any], publisher: Publisher) -> tuple[str, ...]:
    """Short names: a 2.x name without what most names have; Detectron2's name of its configuration."""
    fields = checkpoint(stated, publisher)
    if publisher.origin == "detectron2":
        known = _first(_DETECTRON2_ZOO, fields.get("path", ""))
        return (known,) if known else ()
    if publisher.origin != "mmdetection" or not fields.get("path", "").startswith("v2.0/"):
        return ()
    short = _IN_LONG_NAMES_ONLY.sub("", name)
    return (short,) if short != name else ()


def architecture(name: str, known: Container[str]) -> str:
    """The network of a model: of the same name, or of the name with the usual schedule, or without any (Detectron2)."""
    candidates = (name, _SCHEDULE.sub("_1x", name), re.sub(r"_[13]x$", "", name))
    return next((candidate for candidate in candidates if candidate in known), name)


def schedule(name: str) -> dict[str, Any]:
    """Schedule and epochs of a training that a model's name states: `_2x_` is two times 12 epochs, `_50e_` are 50."""
    match = _STATED_SCHEDULE.search(name)
    if match is None:
        return {}
    count, unit = int(match[1]), match[2]
    return {"schedule": f"{count}{unit}", "epochs": count * 12 if unit == "x" else count}


def tasks(metrics: Mapping[str, Mapping[str, Any]]) -> tuple[str, ...]:
    """What a model does, as the metrics tell that it was published with. metrics: by dataset."""
    known = {name for values in metrics.values() for name in values}
    return tuple(task for metric, task in _TASKS.items() if metric in known)


def checkpoint(stated: str | Mapping[str, Any], publisher: Publisher) -> dict[str, Any]:
    """Path, hash and format of a checkpoint. A mapping says everything itself; a text is a file name, path or URL."""
    if not isinstance(stated, str):
        return dict(stated)
    path = stated if "/" in stated else f"{publisher.folder_of(stated)}/{stated}"
    fields = {
        "path": path,
        "sha256": sha256_prefix(path),
        "md5": _first(_MD5, path),
        "format": _format(path, publisher),
    }
    return {key: value for key, value in fields.items() if value is not None}


def sha256_prefix(path: str) -> str | None:
    """The digits of the hash in a published file name."""
    return _first(_SHA256, path)


def log(stated: str | Mapping[str, Any], path: str, publisher: Publisher, started: str | None = None) -> str | None:
    """The training log beside a checkpoint at `path`, where its name tells; only for one that is stated as a text.

    started: the time in the log's name, where the checkpoint's has none or only a day.
    """
    if not isinstance(stated, str):
        return None
    if publisher.origin == "detectron2":
        return "metrics.json"
    match = _PUBLISHED.fullmatch(path.rsplit("/", 1)[-1])
    if match and started:
        return f"{match['name']}_{started}.log.json"
    has_second = match is not None and "_" in (match["time"] or "")
    return f"{match['name']}_{match['time']}.log.json" if match and has_second else None


def config(name: str, path: str | None, publisher: Publisher) -> str | None:
    """The reference's configuration: by family and name; Detectron2's as its URLs name it (`.../CONFIG/ID/FILE`)."""
    if publisher.origin == "mmdetection":
        return f"configs/{publisher.family}/{name}.py"
    if publisher.origin == "detectron2" and path is not None:
        return f"configs/{'/'.join(path.split('/')[-4:-2])}.yaml"
    return None


def backbone(key: str, stated: Mapping[str, Any]) -> dict[str, Any]:
    """All fields of a backbone: its key may be its URL, its URL ends in its hash, its scheme says who lists it.

    A URL without a scheme is a path below the folder of those who list it.
    """
    scheme = key.split("://")[0]
    url = stated.get("url") or (key if scheme in ("http", "https") else None)
    if url and "://" not in url and scheme in _BACKBONE_FOLDERS:
        url = _BACKBONE_FOLDERS[scheme] + url
    derived: dict[str, Any] = {"sha256": sha256_prefix(url or ""), "license": _BACKBONE_LICENSES.get(scheme)}
    if scheme in _BACKBONE_SOURCES:
        derived["source"] = _BACKBONE_SOURCES[scheme]
    return {**derived, **stated, "url": url}


def _format(path: str, publisher: Publisher) -> str | None:
    if publisher.origin in ("detectron2", "torchvision"):
        return publisher.origin
    if publisher.origin == "authors":
        return "transformers" if path.startswith("hf://") else "authors"
    return "mmdet-v3" if path.startswith("v3.0/") else None


def _first(pattern: re.Pattern[str], text: str) -> str | None:
    match = pattern.search(text)
    return match[1] if match else None


def published(row: Mapping[str, Any], dataset: str) -> dict[str, Any]:
    """`metrics` and `speed` of a row `published: {box_ap: 36.9, fps: 13.4}`: on the dataset's validation images."""
    name = "coco_2017" if dataset in ("coco_2017_panoptic", "coco_2017_keypoints") else dataset
    metrics = {metric: value for metric, value in row.items() if metric != "fps"}
    fields: dict[str, Any] = {"metrics": {f"{name}_val": metrics}} if metrics else {}
    return fields | ({"speed": [{"fps": row["fps"]}]} if "fps" in row else {})
