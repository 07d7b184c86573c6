"""Images with objects in place of a dataset, with all that a network may learn from."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from benchmarks.speed import images
from zoo.coco_format.keypoints import PERSON, mirrored_order
from zoo.models.criteria.segmentation import UNKNOWN
from zoo.models.supervision import Supervision
from zoo.training.augmentation.annotated_image import AnnotatedImage
from zoo.training.augmentation.keypoints import Keypoints

BANDS = 8  # of background, the last one of unknown classes
PROPOSALS = 2000  # of an image: as many as MMDetection and Detectron2 train Fast R-CNN with


class Generated:
    """Images of COCO's most frequent sizes with seven objects each, in place of a folder.

    classes: names. needed: what the objects have beside boxes and labels: masks, a person's keypoints, classes of all
    pixels. Proposals are no part of an annotated image; `proposals` makes them.
    """

    def __init__(self, classes: Sequence[str], needed: Supervision, count: int = 64) -> None:
        self.classes, self.needed = tuple(classes), needed
        self.sizes = [(480, 640) if number % 4 else (640, 480) for number in range(count)]

    def __len__(self) -> int:
        return len(self.sizes)

    def __getitem__(self, index: int) -> AnnotatedImage:
        """Always the same for an index."""
        random, (height, width) = np.random.RandomState(index), self.sizes[index]
        corner = random.uniform(0, 0.6, (7, 2)) * (width, height)
        extent = random.uniform(0.05, 0.4, (7, 2)) * (width, height)
        boxes = np.concatenate([corner, corner + extent], axis=1).astype(np.float32)
        labels = random.randint(0, len(self.classes), 7).astype(np.int64)
        masks = np.stack([filled(box, height, width) for box in boxes]) if self.needs_areas else None
        image = images.draw(random, height, width)
        return AnnotatedImage(
            image,
            boxes,
            labels,
            masks if self.needed.masks else None,
            ignored=np.zeros((0, 4), np.float32),
            semantic=None if masks is None else self.pixel_classes(random, masks, labels),
            keypoints=self.keypoints(random, boxes),
        ).clipped()

    @property
    def needs_areas(self) -> bool:
        """Whether it matters which pixels an object covers."""
        return self.needed.masks or self.needed.semantic is not None

    def pixel_classes(self, random: np.random.RandomState, masks: np.ndarray, labels: np.ndarray) -> np.ndarray | None:
        """Classes (H, W) uint8 of pixels: objects with their labels before bands of stuff; None where not needed."""
        if self.needed.semantic is None:
            return None
        first = len(self.classes) if self.needed.semantic > len(self.classes) else 0
        stuff = random.randint(first, self.needed.semantic, BANDS)
        stuff[-1] = UNKNOWN
        height, width = masks.shape[1:]
        result = np.broadcast_to(stuff[np.arange(width) * BANDS // width], (height, width)).astype(np.uint8)
        for mask, label in zip(masks, labels):
            result[mask == 1] = label
        return result

    def keypoints(self, random: np.random.RandomState, boxes: np.ndarray) -> Keypoints | None:
        """A person's, in each box; None where not needed."""
        if self.needed.keypoints is None:
            return None
        return Keypoints(spread(random, boxes), tuple(mirrored_order(PERSON)), self.needed.keypoints)


def proposals(boxes: np.ndarray, size: tuple[int, int], index: int) -> np.ndarray:
    """Boxes (2000, 4) as another network may propose them for an image (h, w): half of them near its objects' boxes."""
    random, (height, width) = np.random.RandomState(index), size
    limits = np.array([width, height, width, height], np.float32)
    corner, extent = random.uniform(0, 0.8, (PROPOSALS, 2)), random.uniform(0.02, 0.5, (PROPOSALS, 2))
    result = np.concatenate([corner, corner + extent], axis=1) * limits
    near = PROPOSALS // 2 if len(boxes) else 0
    chosen = boxes[random.randint(0, max(len(boxes), 1), near)]
    sides = np.tile(chosen[:, 2:] - chosen[:, :2], 2)
    result[:near] = chosen + random.uniform(-0.3, 0.3, (near, 4)) * sides
    return np.clip(result, 0, limits).astype(np.float32)


def spread(random: np.random.RandomState, boxes: np.ndarray) -> np.ndarray:
    """Visible keypoints (M, 17, 3) at random positions in boxes (M, 4)."""
    positions = (
        boxes[:, None, :2] + random.uniform(0, 1, (len(boxes), len(PERSON), 2)) * (boxes[:, 2:] - boxes[:, :2])[:, None]
    )
    return np.concatenate([positions, np.full((*positions.shape[:2], 1), 2.0)], axis=-1).astype(np.float32)


def filled(box: np.ndarray, height: int, width: int) -> np.ndarray:
    """The mask (H, W) of a box."""
    mask = np.zeros((height, width), np.uint8)
    x1, y1, x2, y2 = (int(value) for value in box)
    mask[y1:y2, x1:x2] = 1
    return mask
