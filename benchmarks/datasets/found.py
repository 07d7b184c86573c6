"""What was found in one picture, small enough to keep for a whole data set: numpy arrays, masks as RLE."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from zoo.coco_format import RLE, encode_masks
from zoo.structures import Detections


@dataclass(frozen=True)
class Found:
    """Detections of one picture, best first, in the picture's own pixels.

    boxes: (K, 4) float32 xyxy. scores: (K,) float32. labels: (K,) int64, 0-based. masks: K RLEs or None.
    packed_panoptic: the panoptic map of `Detections`, compressed, with its (h, w); None where there is none.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: list[RLE] | None = None
    packed_panoptic: tuple[bytes, tuple[int, int]] | None = None

    @property
    def panoptic(self) -> NDArray[np.int32] | None:
        """(H, W): label + 1000 * instance; the number of classes where nothing was found. None without panoptic."""
        if self.packed_panoptic is None:
            return None
        data, shape = self.packed_panoptic
        return np.frombuffer(zlib.decompress(data), np.int32).reshape(shape)


def compact(detections: Detections) -> Found:
    """Detections on any device -> what is kept of them."""
    masks = None if detections.masks is None else encode_masks(detections.masks)
    boxes, scores, labels = (t.cpu().numpy() for t in (detections.boxes, detections.scores, detections.labels))
    found = Found(boxes.astype(np.float32), scores.astype(np.float32), labels.astype(np.int64), masks)
    if detections.panoptic is None:
        return found
    panoptic = detections.panoptic.cpu().numpy().astype(np.int32)
    packed = zlib.compress(np.ascontiguousarray(panoptic).tobytes(), level=1)
    return Found(found.boxes, found.scores, found.labels, masks, (packed, (panoptic.shape[0], panoptic.shape[1])))
