"""COCO panoptic: panoptic quality (Kirillov et al., 2019) over things and stuff, and box and mask AP of the things.

PQ of a class = sum of IoU over matches / (matches + half the unmatched segments of either side); a match has IoU > 0.5.
Void pixels and crowds count for nothing, as in panopticapi.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.datasets.coco import CocoDataset
from benchmarks.datasets.found import Found
from benchmarks.datasets.layout import DatasetError, read_json, require_folder
from benchmarks.datasets.request import Picture, Request
from zoo.structures import INSTANCE

VOID = -1
MEASURES = ("box", "mask")


@dataclass
class Tally:
    """Matches and misses per category id."""

    overlap: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    matched: Counter[int] = field(default_factory=Counter)
    invented: Counter[int] = field(default_factory=Counter)
    missed: Counter[int] = field(default_factory=Counter)

    def quality(self, categories: Iterable[int]) -> tuple[float, float, float]:
        """(PQ, SQ, RQ), each the mean over the categories that occur; -1 where none does."""
        rows = []
        for c in categories:
            total = self.matched[c] + (self.invented[c] + self.missed[c]) / 2
            if total:
                segmentation = self.overlap[c] / self.matched[c] if self.matched[c] else 0.0
                rows.append((self.overlap[c] / total, segmentation, self.matched[c] / total))
        pq, sq, rq = np.mean(rows, axis=0) if rows else -np.ones(3)
        return float(pq), float(sq), float(rq)


class CocoPanoptic:
    """Panoptic annotations with their PNGs, and for the things' AP the instance annotations; paths below `root`."""

    def __init__(
        self, name: str, root: Path, request: Request, annotations: str, segments: str, pictures: str, instances: str
    ) -> None:
        self.name, self.root, self.request = name, root, request
        path = root / annotations
        truth = read_json(path, name, ("images", "annotations", "categories"))
        self.categories: list[dict[str, Any]] = truth["categories"]
        if not all("isthing" in row for row in self.categories):
            raise DatasetError(f"{path} does not say which categories are things: it has no panoptic annotations.")
        self.category_ids = [row["id"] for row in self.categories]
        self.classes = tuple(row["name"] for row in self.categories)
        check_classes(self.categories, request.classes, path)
        self.segments = require_folder(root / segments, name)
        self.annotations = {row["image_id"]: row for row in truth["annotations"]}
        folder = require_folder(root / pictures, name)
        self.images = [Picture(row["id"], folder / row["file_name"]) for row in truth["images"]]
        measures = tuple(m for m in request.measures if m in MEASURES)
        self.things = (
            CocoDataset(name, root, replace(request, measures=measures), instances, pictures) if measures else None
        )

    def evaluate(self, found: Mapping[int | str, Found]) -> dict[str, float]:
        """pq, sq, rq, the same of things and stuff (pq_things, ...), and box and mask AP, as far as asked for."""
        quality = self.quality(found) if "panoptic" in self.request.measures else {}
        return quality | (self.things.evaluate(found) if self.things else {})

    def quality(self, found: Mapping[int | str, Found]) -> dict[str, float]:
        """Panoptic, segmentation and recognition quality by name."""
        tally = Tally()
        for image_id, one in found.items():
            add_picture(tally, *self.read_truth(image_id), *self.segments_of(one, image_id))
        things = {row["id"] for row in self.categories if row["isthing"]}
        groups = {"": self.category_ids, "_things": things, "_stuff": set(self.category_ids) - things}
        numbers: dict[str, float] = {}
        for suffix, chosen in groups.items():
            numbers |= dict(zip((f"pq{suffix}", f"sq{suffix}", f"rq{suffix}"), tally.quality(chosen)))
        return numbers

    def read_truth(self, image_id: int | str) -> tuple[NDArray[np.int64], dict[int, int], set[int]]:
        """(H, W) segment ids, category by segment, crowd segments of a picture."""
        annotation = self.annotations[image_id]
        path = self.segments / annotation["file_name"]
        image = cv2.imread(str(path))
        if image is None:
            raise DatasetError(f"{path} is missing or does not decode. `bench datasets {self.name}` shows the layout.")
        blue, green, red = (image[..., i].astype(np.int64) for i in range(3))
        rows = annotation["segments_info"]
        kinds = {row["id"]: row["category_id"] for row in rows}
        return red + 256 * green + 65536 * blue, kinds, {row["id"] for row in rows if row.get("iscrowd")}

    def segments_of(self, one: Found, image_id: int | str) -> tuple[NDArray[np.int64], dict[int, int]]:
        """(H, W) segment ids with VOID, category by segment, of what was found."""
        panoptic = one.panoptic
        if panoptic is None:
            raise DatasetError(f"the model gives no panoptic map for image {image_id}: {self.name} needs one.")
        ids = np.where(panoptic % INSTANCE == len(self.category_ids), VOID, panoptic).astype(np.int64)
        present = [int(i) for i in np.unique(ids) if i != VOID]
        return ids, {i: self.category_ids[i % INSTANCE] for i in present}


def add_picture(
    tally: Tally,
    truth: NDArray[np.int64],
    kinds: Mapping[int, int],
    crowds: set[int],
    found: NDArray[np.int64],
    found_kinds: Mapping[int, int],
) -> None:
    """Count one picture's segments. truth, found: (H, W) segment ids; kinds: category by segment."""
    areas, found_areas = count(truth), count(found)
    shared = {((pair >> 32), (pair & 0xFFFFFFFF) + VOID): n for pair, n in count((truth << 32) + found - VOID).items()}
    matched_truth, matched_found = set(), set()
    for (t, f), size in shared.items():
        if t not in kinds or f not in found_kinds or t in crowds or kinds[t] != found_kinds[f]:
            continue
        void = sum(n for (other, g), n in shared.items() if g == f and other not in kinds)
        overlap = size / (areas[t] + found_areas[f] - size - void)
        if overlap > 0.5:
            tally.overlap[kinds[t]] += overlap
            tally.matched[kinds[t]] += 1
            matched_truth.add(t)
            matched_found.add(f)
    tally.missed.update(kind for t, kind in kinds.items() if t not in matched_truth and t not in crowds)
    for f, kind in found_kinds.items():
        if f in matched_found:
            continue
        excused = sum(
            n for (t, g), n in shared.items() if g == f and (t not in kinds or (t in crowds and kinds[t] == kind))
        )
        if excused / found_areas[f] <= 0.5:
            tally.invented[kind] += 1


def count(ids: NDArray[np.int64]) -> dict[int, int]:
    """How many pixels each id has."""
    values, sizes = np.unique(ids, return_counts=True)
    return dict(zip(values.tolist(), sizes.tolist()))


def check_classes(categories: Sequence[Mapping[str, Any]], classes: Sequence[str] | None, path: Path) -> None:
    """Raise DatasetError for a model that knows other things."""
    things = [row["name"] for row in categories if row["isthing"]]
    if classes is not None and list(classes) not in (things, [row["name"] for row in categories]):
        raise DatasetError(f"{path} has other classes than the model: {len(things)} things against {len(classes)}.")
