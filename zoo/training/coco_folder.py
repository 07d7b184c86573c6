"""A dataset in COCO's format, as training reads it (https://cocodataset.org/#format-data)."""

from __future__ import annotations

import json
from collections import defaultdict
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from zoo.coco_format.keypoints import mirrored_order, names_of
from zoo.errors import DataError
from zoo.preprocessing.preprocess import read_image
from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.keypoints import Keypoints
from zoo.training.semantic_maps import ClassMaps

LEAST_SIDE = 32  # the reference trains on no smaller image
FIELDS = {
    "images": ("id", "file_name", "width", "height"),
    "categories": ("id", "name"),
    "annotations": ("image_id", "category_id", "bbox"),
}


class CocoFolder:
    """Images with objects of an annotation file.

    annotations: a file such as `annotations/instances_train2017.json`. folder: where its file names are.
    Images without objects, or with a side below 32 pixels, are left out; so are boxes without area in their image.
    pixel_center: read keypoints, too, with the center of pixel 0 there, for networks that learn them; images without
    any visible keypoint are left out then.
    classes: names in the annotations' order, which is the order of labels. sizes: (h, w) of each image. maps: the
    classes of all pixels, where they are wanted. digest: SHA-256 of the annotation file.
    """

    def __init__(
        self,
        annotations: Path,
        folder: Path,
        masks: bool = False,
        maps: ClassMaps | None = None,
        pixel_center: float | None = None,
    ) -> None:
        document, self.digest = _read(annotations)
        self.annotations, self.folder, self.masks, self.maps = annotations, folder, masks, maps
        self.pixel_center, self.categories, self.num_keypoints = pixel_center, document["categories"], 0
        self.classes = tuple(row["name"] for row in document["categories"])
        self.labels = {row["id"]: label for label, row in enumerate(document["categories"])}
        self.unknown = sum(row["category_id"] not in self.labels for row in document["annotations"])
        extents = {image["id"]: (image["width"], image["height"]) for image in document["images"]}
        rows = defaultdict(list)
        for row in document["annotations"]:
            if row["category_id"] in self.labels and _has_area(row, extents.get(row["image_id"], (0, 0))):
                rows[row["image_id"]].append(row)
        large = [image for image in document["images"] if min(image["width"], image["height"]) >= LEAST_SIDE]
        wanted = _is_object if pixel_center is None else _has_keypoints
        self.images = [i for i in large if any(wanted(row) for row in rows[i["id"]])]
        self.rows = {image["id"]: rows[image["id"]] for image in self.images}
        self.sizes = [(image["height"], image["width"]) for image in self.images]
        self._check()

    def _check(self) -> None:
        if not self.images:
            what = "an object" if self.pixel_center is None else "visible keypoints"
            others = f" {self.unknown} annotations are of categories that it does not list." if self.unknown else ""
            raise DataError(f"{self.annotations} has no image with {what}, so there is nothing to train on.{others}")
        if not self.folder.is_dir():
            raise DataError(f"{self.folder} is not a folder; it should hold the images of {self.annotations}.")
        if self.masks:
            self._check_masks()
        if self.pixel_center is not None:
            self.num_keypoints = self._count_keypoints()

    def _check_masks(self) -> None:
        objects = [row for rows in self.rows.values() for row in rows if _is_object(row)]
        bare = [row for row in objects if not row.get("segmentation")]
        if bare:
            raise DataError(
                f"{self.annotations}: {len(bare)} of {len(objects)} objects have no 'segmentation', which this network "
                f"learns from; the first is annotation {bare[0].get('id')}."
            )

    def _count_keypoints(self) -> int:
        """How many keypoints each object has."""
        objects = [row for rows in self.rows.values() for row in rows if _is_object(row) and "keypoints" in row]
        counts = {len(row["keypoints"]) for row in objects}
        if len(counts) != 1:
            listed = ", ".join(str(count // 3) for count in sorted(counts))
            raise DataError(f"{self.annotations}: the objects have different numbers of keypoints ({listed}).")
        return counts.pop() // 3

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> AnnotatedImage:
        """The image and its objects. Raises UnreadableImage, DataError."""
        image = self.images[index]
        pixels = read_image(self.folder / image["file_name"])
        if pixels.shape[:2] != (image["height"], image["width"]):
            have, said = "{1} x {0}".format(*pixels.shape), f"{image['width']} x {image['height']}"
            raise DataError(f"{self.folder / image['file_name']} is {have} pixels; {self.annotations} says {said}.")
        rows = [row for row in self.rows[image["id"]] if not row.get("iscrowd")]
        crowds = [row for row in self.rows[image["id"]] if row.get("iscrowd")]
        labels = np.array([self.labels[row["category_id"]] for row in rows], np.int64)
        masks = np.stack([decode(row["segmentation"], image) for row in rows]) if self.masks else None
        semantic = self.maps.of(image["file_name"], pixels.shape[:2]) if self.maps else None
        keypoints = None if self.pixel_center is None else self._keypoints(rows, self.pixel_center)
        return AnnotatedImage(pixels, _boxes(rows), labels, masks, _boxes(crowds), semantic, keypoints).clipped()

    def _keypoints(self, rows: list[dict[str, Any]], pixel_center: float) -> Keypoints:
        """The objects' keypoints; those of objects without any are unknown."""
        count = self.num_keypoints
        unknown = [0] * 3 * count
        points = np.array([row.get("keypoints", unknown) for row in rows], np.float32).reshape(-1, count, 3)
        points[..., :2] += pixel_center
        return Keypoints(points, tuple(mirrored_order(names_of(self.categories[0], count))), pixel_center)


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


def decode(segmentation: Any, image: dict[str, Any]) -> NDArray[np.uint8]:
    """(H, W) of 0 and 1 from polygons or run lengths, which may be compressed."""
    height, width = image["height"], image["width"]
    if isinstance(segmentation, list):
        rle = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    elif isinstance(segmentation["counts"], list):
        rle = coco_mask.frPyObjects(segmentation, height, width)
    else:
        rle = segmentation
    decoded: NDArray[np.uint8] = coco_mask.decode(rle)
    return decoded


def _boxes(rows: list[dict[str, Any]]) -> NDArray[np.float32]:
    corners = np.array([row["bbox"] for row in rows], np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners


def _has_area(row: dict[str, Any], extent: tuple[int, int]) -> bool:
    """Whether a box has an area, also inside its image. extent: the image's (width, height)."""
    left, top, width, height = row["bbox"]
    inside_x = min(left + width, extent[0]) - max(left, 0)
    inside_y = min(top + height, extent[1]) - max(top, 0)
    return bool(width >= 1 and height >= 1 and row.get("area", 1) > 0 and inside_x > 0 and inside_y > 0)


def _is_object(row: dict[str, Any]) -> bool:
    return not row.get("iscrowd")


def _has_keypoints(row: dict[str, Any]) -> bool:
    return _is_object(row) and any(visible > 0 for visible in row.get("keypoints", ())[2::3])


def _read(path: Path) -> tuple[dict[str, Any], str]:
    """The content of an annotation file, and its SHA-256."""
    try:
        content = path.read_bytes()
        document = json.loads(content)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} cannot be read as JSON: {error}.") from None
    for key, fields in FIELDS.items():
        if not isinstance(document, dict) or not isinstance(document.get(key), list):
            raise DataError(f"{path} has no list '{key}': it is not an annotation file in COCO's format.")
        for row in document[key]:
            missing = fields if not isinstance(row, dict) else [field for field in fields if field not in row]
            if missing:
                raise DataError(f"{path}: entry {row!r:.80} of '{key}' has no '{missing[0]}'.")
    return document, sha256(content).hexdigest()
