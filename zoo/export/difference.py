"""How far an exported file's detections are from its network's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from zoo.export.runtimes import ExportedDetector
from zoo.models.box_ops import pairwise_iou
from zoo.models.detectors.base import Detector
from zoo.structures import Detections, Sample

# Boxes of one detection in a float32 graph; and in a graph of fewer bits, as AP at 50% counts them.
SAME, SIMILAR = 0.97, 0.5


@dataclass(frozen=True)
class Difference:
    """How far a graph's detections are from the network's.

    detections: of the network. matched: share of them that the graph has too (same label, and boxes of an IoU above a
    threshold). score, box: largest differences among the matched ones, boxes in pixels. mask: smallest IoU of two
    matched masks, panoptic: smallest share of equal pixels in an image, keypoints: smallest share of a detection's
    keypoints that are within half a pixel; None where there are none.
    """

    detections: int
    matched: float
    score: float
    box: float
    mask: float | None = None
    panoptic: float | None = None
    keypoints: float | None = None


def difference(model: Detector, exported: ExportedDetector, samples: Sequence[Sample], iou: float = SAME) -> Difference:
    """Compare a graph with its network on preprocessed images. iou: from which two boxes are the same detection."""

    def pairs() -> Iterator[tuple[Detections, Detections]]:
        for sample in samples:
            with torch.inference_mode():
                want = model.predict(sample.image[None], [sample.geometry])[0]
            yield want, exported.predict_one(sample.image[None], sample.geometry)

    return of_pairs(pairs(), iou)


def of_batch(exported: ExportedDetector, samples: Sequence[Sample], count: int, iou: float = SAME) -> Difference:
    """Compare what a graph detects in each image alone with what it detects in a batch of `count` of them.

    Images are repeated, and padded to a common size.
    """
    chosen = [samples[i % len(samples)] for i in range(count)]
    height, width = (max(sample.image.shape[side] for sample in chosen) for side in (1, 2))
    inputs = [pad(s.image, (0, width - s.image.shape[2], 0, height - s.image.shape[1])) for s in chosen]
    alone = [exported.predict_one(image[None], sample.geometry) for image, sample in zip(inputs, chosen)]
    together = exported.predict(torch.stack(inputs), [sample.geometry for sample in chosen])
    return of_pairs(zip(alone, together), iou)


def of_pairs(pairs: Iterable[tuple[Detections, Detections]], iou: float) -> Difference:
    """Compare detections of the same images, wanted and had."""
    count, score, box, mask, panoptic, keypoints = 0, [], [], [], [], []
    for want, have in pairs:
        count += len(want)
        if want.panoptic is not None and have.panoptic is not None:
            panoptic.append(float((want.panoptic == have.panoptic).float().mean()))
        if not len(want) or not len(have):
            continue
        matched, partner = partners(want, have, iou)
        want, have = want[matched], have[partner]
        score += (want.scores - have.scores).abs().tolist()
        box += (want.boxes - have.boxes).abs().amax(dim=1).tolist()
        if want.masks is not None and have.masks is not None:
            mask += mask_overlaps(want.masks, have.masks).tolist()
        if want.keypoints is not None and have.keypoints is not None:
            near = (want.keypoints - have.keypoints)[..., :2].abs().amax(dim=2) < 0.5
            keypoints += near.float().mean(dim=1).tolist()
    share = len(score) / count if count else 1.0
    lowest = (min(values) if values else None for values in (mask, panoptic, keypoints))
    return Difference(count, share, max(score, default=0.0), max(box, default=0.0), *lowest)


def partners(want: Detections, have: Detections, iou: float) -> tuple[Tensor, Tensor]:
    """Indices of the detections that others repeat, and of those others. Neither may be empty."""
    near = (want.boxes[:, None] - have.boxes).abs().amax(dim=2) < 0.05  # boxes without area have no IoU
    quality = pairwise_iou(want.boxes, have.boxes).maximum(near.float())
    quality -= 2.0 * (want.labels[:, None] != have.labels)
    quality -= (want.scores[:, None] - have.scores).abs()  # of equal boxes the one with the same score
    best, partner = quality.max(dim=1)
    matched = (best > iou).nonzero().squeeze(1)
    return matched, partner[matched]


def mask_overlaps(a: Tensor, b: Tensor) -> Tensor:
    """IoU (K,) of masks (K, H, W) bool one by one; of two empty masks it is 1."""
    both, either = (a & b).flatten(1).sum(1), (a | b).flatten(1).sum(1)
    return torch.where(either > 0, both / either.clamp(min=1), 1.0)
