"""A dataset in COCO's format, as training reads it (https://cocodataset.org/#format-data)."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.coco_format.annotations import Annotations, CocoObject, read_annotations, shadowed
from zoo.coco_format.image_files import find_images
from zoo.coco_format.keypoints import mirrored_order, names_of
from zoo.coco_format.masks import area_of, checked_masks
from zoo.coco_format.segmentation import RLE, decode
from zoo.coco_format.sizes import Size, checked_sizes
from zoo.coco_format.values import is_number
from zoo.errors import DataError
from zoo.preprocessing.preprocess import read_image
from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.keypoints import Keypoints
from zoo.training.semantic_maps import ClassMaps

LEAST_SIDE = 32  # the reference trains on no smaller image


class CocoFolder:
    """Images with objects of an annotation file.

    annotations: a file such as `annotations/instances_train2017.json`. folder: where its file names are.
    Images without objects, or with a side below 32 pixels, are left out; so are boxes without area in their image.
    pixel_center: read keypoints, too, with the center of pixel 0 there, for networks that learn them; images without
    any visible keypoint are left out then.
    classes: names in the annotations' order, which is the order of labels. images: what the file says of each image;
    sizes: (h, w) of each. maps: the classes of all pixels, where they are wanted. digest: SHA-256 of the annotation
    file. Everything is checked at once, as for an evaluation: raises DataError, UnreadableImage.
    """

    def __init__(
        self,
        annotations: Path,
        folder: Path,
        masks: bool = False,
        maps: ClassMaps | None = None,
        pixel_center: float | None = None,
    ) -> None:
        file = read_annotations(annotations)
        self.digest = sha256(annotations.read_bytes()).hexdigest()
        self.annotations, self.folder, self.maps = annotations, folder, maps
        self.pixel_center, self.num_keypoints = pixel_center, 0
        positions = [i for i in range(len(file.categories)) if not shadowed(i, file.categories)]
        self.categories = [file.categories[i].row for i in positions]
        self.classes = tuple(file.categories[i].name for i in positions)
        if twice := [name for name in self.classes if self.classes.count(name) > 1]:
            raise DataError(f"{annotations} has annotations of several categories called '{twice[0]}'.")
        self.labels = {position: label for label, position in enumerate(positions)}
        if not folder.is_dir():
            raise DataError(f"{folder} is not a folder; it should hold the images of {annotations}.")
        paths = find_images(folder, [image.file_name for image in file.images])
        kept, objects, sizes = self._choose(file, checked_sizes(file, paths))
        self.images = [file.images[i].row for i in kept]
        self.paths = [paths[i] for i in kept]
        self.sizes = [sizes[i] for i in kept]
        self.objects = [objects[i] for i in kept]
        self._check(file, {i: size for i, size in zip(kept, self.sizes)}, masks)

    def _choose(self, file: Annotations, sizes: Sequence[Size | None]) -> tuple[list[int], Any, dict[int, Size]]:
        """The positions of the images to train on, and by position the objects and the sizes."""
        known = {i: size for i, size in enumerate(sizes) if size is not None}
        objects: dict[int, list[CocoObject]] = {i: [] for i in range(len(sizes))}
        for one in file.objects:
            if one.image in known and _has_area(one, known[one.image]):
                objects[one.image].append(one)
        wanted = _is_object if self.pixel_center is None else _has_keypoints
        kept = [i for i, size in known.items() if min(size) >= LEAST_SIDE and any(map(wanted, objects[i]))]
        return kept, objects, known

    def _check(self, file: Annotations, sizes: dict[int, Size], masks: bool) -> None:
        if not self.images:
            what = "an object" if self.pixel_center is None else "visible keypoints"
            raise DataError(f"{self.annotations} has no image with {what}, so there is nothing to train on.")
        if missing := [path for path in self.paths if not path.exists()]:
            raise DataError(f"{len(missing):,} of {len(self.paths):,} images do not exist, {missing[0]} first.")
        self.masks = self._masks(file, sizes) if masks else None
        if self.pixel_center is not None:
            self.num_keypoints = self._count_keypoints()

    def _masks(self, file: Annotations, sizes: dict[int, Size]) -> dict[int, RLE]:
        """The mask of each object by the object's position in the file."""
        objects = [one for listed in self.objects for one in listed if _is_object(one)]
        every = [sizes.get(i) for i in range(len(file.images))]
        masks = checked_masks(file, objects, every, "which this network learns from")
        return {one.number: mask for one, mask in zip(objects, masks)}

    def _count_keypoints(self) -> int:
        """How many keypoints each object has."""
        rows = [one.row for listed in self.objects for one in listed if _is_object(one) and "keypoints" in one.row]
        if bad := next((row for row in rows if not _are_keypoints(row["keypoints"])), None):
            raise DataError(
                f"{self.annotations}: annotation {bad.get('id')} has 'keypoints' that are not x, y, v each."
            )
        counts = {len(row["keypoints"]) for row in rows}
        if len(counts) != 1:
            listed = ", ".join(str(count // 3) for count in sorted(counts))
            raise DataError(f"{self.annotations}: the objects have different numbers of keypoints ({listed}).")
        return counts.pop() // 3

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> AnnotatedImage:
        """The image and its objects. Raises UnreadableImage, DataError."""
        pixels, size = read_image(self.paths[index]), self.sizes[index]
        if pixels.shape[:2] != size:
            have, said = "{1} x {0}".format(*pixels.shape), "{1} x {0}".format(*size)
            raise DataError(f"{self.paths[index]} is {have} pixels; {self.annotations} says {said}.")
        objects = [one for one in self.objects[index] if not one.iscrowd]
        crowds = [one for one in self.objects[index] if one.iscrowd]
        labels = np.array([self.labels[one.category] for one in objects], np.int64)
        masks = None if self.masks is None else np.stack([decode(self.masks[one.number], *size) for one in objects])
        semantic = self.maps.of(self.images[index]["file_name"], size) if self.maps else None
        keypoints = None if self.pixel_center is None else self._keypoints(objects, self.pixel_center)
        return AnnotatedImage(pixels, _boxes(objects), labels, masks, _boxes(crowds), semantic, keypoints).clipped()

    def _keypoints(self, objects: Sequence[CocoObject], pixel_center: float) -> Keypoints:
        """The objects' keypoints; those of objects without any are unknown."""
        count = self.num_keypoints
        unknown = [0] * 3 * count
        points = np.array([one.row.get("keypoints", unknown) for one in objects], np.float32).reshape(-1, count, 3)
        points[..., :2] += pixel_center
        return Keypoints(points, tuple(mirrored_order(names_of(self.categories[0], count))), pixel_center)


def _boxes(objects: Sequence[CocoObject]) -> NDArray[np.float32]:
    corners = np.array([one.bbox for one in objects], np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2]
    return corners


def _has_area(one: CocoObject, size: Size) -> bool:
    """Whether a box has an area, also inside its image."""
    left, top, width, height = one.bbox or (0, 0, 0, 0)
    inside_x = min(left + width, size[1]) - max(left, 0)
    inside_y = min(top + height, size[0]) - max(top, 0)
    return width >= 1 and height >= 1 and inside_x > 0 and inside_y > 0 and area_of(one, None) > 0


def _is_object(one: CocoObject) -> bool:
    return not one.iscrowd


def _has_keypoints(one: CocoObject) -> bool:
    points: Any = one.row.get("keypoints")
    return _is_object(one) and _are_keypoints(points) and any(visible > 0 for visible in points[2::3])


def _are_keypoints(points: Any) -> bool:
    return isinstance(points, list) and len(points) % 3 == 0 and all(map(is_number, points))
