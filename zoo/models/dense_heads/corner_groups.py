"""Which corners belong together: by their tags (Law and Deng, CornerNet, 2018), or by the centers that they point to
(Dong et al., CentripetalNet, 2020)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo.models.layers.ranking import ranked
from zoo.structures import Detections

# Areas in pixels from which on a box's central region is larger, and sides of the region in parts of the box's.
LARGE_AREA, SMALL_REGION, LARGE_REGION = 3500, 1 / 2.4, 1 / 2.1


@dataclass
class Corners:
    """The best corners of one kind in one image.

    scores: (K,). labels: (K,). positions: (K, 2), x and y in pixels. tags: (K,) associative embeddings, or None.
    centers: (K, 2), where each corner says its box's center is, in pixels, or None.
    """

    scores: Tensor
    labels: Tensor
    positions: Tensor
    tags: Tensor | None = None
    centers: Tensor | None = None


def group_corners(top_left: Corners, bottom_right: Corners, threshold: float, count: int = 1000) -> Detections:
    """The best `count` pairs that make a box: one class, right order, and matching tags or centers.

    threshold: largest difference of tags, or largest area spanned by the two centers in parts of the central region.
    """
    first, second = top_left.positions[:, None], bottom_right.positions[None]
    boxes = torch.cat(torch.broadcast_tensors(first, second), dim=-1)
    valid = (second > first).all(dim=-1) & (top_left.labels[:, None] == bottom_right.labels)
    if top_left.tags is not None and bottom_right.tags is not None:
        valid &= (top_left.tags[:, None] - bottom_right.tags).abs() <= threshold
    if top_left.centers is not None and bottom_right.centers is not None:
        valid &= centers_match(boxes, top_left.centers[:, None], bottom_right.centers[None], threshold)
    a, b = valid.nonzero(as_tuple=True)
    scores, order = ranked((top_left.scores[a] + bottom_right.scores[b]) / 2)
    a, b = a[order[:count]], b[order[:count]]
    return Detections(boxes[a, b], scores[:count], top_left.labels[a])


def centers_match(boxes: Tensor, first: Tensor, second: Tensor, threshold: float) -> Tensor:
    """Whether both centers lie in their box's central region, and close to each other.

    boxes: (..., 4) xyxy. first, second: (..., 2), of the top left and the bottom right corner, broadcast against the
    boxes. Returns (...) bool.
    """
    size, middle = boxes[..., 2:] - boxes[..., :2], (boxes[..., :2] + boxes[..., 2:]) / 2
    large = size.prod(dim=-1).abs() > LARGE_AREA
    half = size * torch.where(large, LARGE_REGION, SMALL_REGION)[..., None] / 2
    low, high = middle - half, middle + half
    inside = [((center > low) & (center < high)).all(dim=-1) for center in (first, second)]
    apart = (second - first).prod(dim=-1).abs() / (high - low).prod(dim=-1).abs()
    return inside[0] & inside[1] & ~(apart > threshold)
