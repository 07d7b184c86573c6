"""What was found in one image, small enough to keep for a whole dataset: numpy arrays, masks as RLE."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from zoo.coco_format.keypoints import to_pixel_indices
from zoo.coco_format.results import RLE, encode_masks

if TYPE_CHECKING:
    from torch import Tensor

    from zoo.structures import Detections


class Masks:
    """RLEs of one image's masks, compressed together: as objects of their own they take ten times the memory."""

    def __init__(self, masks: Sequence[RLE]) -> None:
        self.size = tuple(masks[0]["size"]) if masks else (0, 0)
        self.packed = zlib.compress("\n".join(mask["counts"] for mask in masks).encode("ascii"), level=1)

    def __iter__(self) -> Iterator[RLE]:
        """Each mask's RLE, in order."""
        for counts in zlib.decompress(self.packed).decode("ascii").split():
            yield {"size": list(self.size), "counts": counts}


@dataclass(frozen=True)
class Predictions:
    """Detections of one image, best first, in the image's own pixels.

    boxes: (K, 4) float32 xyxy. scores: (K,) float32. labels: (K,) int64, 0-based. masks: K RLEs or None.
    mask_scores: (K,) float32 or None: what mask AP ranks by, where that differs from `scores`.
    packed_panoptic: the panoptic map of `Detections`, compressed, with its (h, w); None where there is none.
    keypoints: (K, P, 3) float32 as x, y, score in COCO's coordinates, which are indices of pixels, or None.
    """

    boxes: NDArray[np.float32]
    scores: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: Iterable[RLE] | None = None
    packed_panoptic: tuple[bytes, tuple[int, int]] | None = None
    mask_scores: NDArray[np.float32] | None = None
    keypoints: NDArray[np.float32] | None = None

    @property
    def ranking(self) -> NDArray[np.float32]:
        """(K,) what mask AP ranks by."""
        return self.scores if self.mask_scores is None else self.mask_scores

    @property
    def panoptic(self) -> NDArray[np.int32] | None:
        """(H, W): label + 1000 * instance; the number of classes where nothing was found. None without panoptic."""
        if self.packed_panoptic is None:
            return None
        data, shape = self.packed_panoptic
        return np.frombuffer(zlib.decompress(data), np.int32).reshape(shape)


def compact(detections: Detections, pixel_center: float = 0.5) -> Predictions:
    """Detections on any device -> what is kept of them. pixel_center: of the network, for keypoints."""
    keypoints = None if detections.keypoints is None else detections.keypoints.cpu().numpy().astype(np.float32)
    return Predictions(
        boxes=detections.boxes.cpu().numpy().astype(np.float32),
        scores=detections.scores.cpu().numpy().astype(np.float32),
        labels=detections.labels.cpu().numpy().astype(np.int64),
        masks=None if detections.masks is None else Masks(encode_masks(detections.masks)),
        packed_panoptic=None if detections.panoptic is None else pack(detections.panoptic),
        mask_scores=None if detections.mask_scores is None else detections.mask_scores.cpu().numpy(),
        keypoints=None if keypoints is None else to_pixel_indices(keypoints, pixel_center),
    )


def pack(panoptic: Tensor) -> tuple[bytes, tuple[int, int]]:
    """A map (H, W), compressed, and its size."""
    values = panoptic.cpu().numpy().astype(np.int32)
    return zlib.compress(np.ascontiguousarray(values).tobytes(), level=1), (values.shape[0], values.shape[1])
