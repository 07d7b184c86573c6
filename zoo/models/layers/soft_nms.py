"""Suppression that lowers scores instead of removing boxes (Bodla et al., Soft-NMS, 2017)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from zoo.errors import BuildError
from zoo.models.box_ops import pairwise_iou

Decay = Callable[[Tensor], Tensor]


def soft_nms(
    boxes: Tensor,
    scores: Tensor,
    groups: Tensor,
    iou_threshold: float = 0.3,
    sigma: float = 0.5,
    min_score: float = 1e-3,
    method: str = "linear",
) -> tuple[Tensor, Tensor]:
    """Within each group, pick the best box, lower the others' scores by their overlap with it, and so on.

    boxes: (K, 4) xyxy. scores: (K,). groups: (K,) integers. method: "linear" and "naive" act on overlaps from
    `iou_threshold` on, "gaussian" on all by `sigma`. Boxes whose score falls below `min_score` go.
    Returns the indices of the picked boxes, best first, and their scores. All groups take their steps together, on the
    CPU: each step depends on the one before, so a GPU would be waited for at every one of them.
    """
    decay, home = decay_function(method, iou_threshold, sigma), boxes.device
    kept, values = on_host(boxes.cpu(), scores.cpu(), groups.cpu(), decay, min_score)
    return kept.to(home), values.to(home)


def on_host(boxes: Tensor, scores: Tensor, groups: Tensor, decay: Decay, min_score: float) -> tuple[Tensor, Tensor]:
    """`soft_nms` of tensors on the CPU."""
    index, present = rows_by_group(groups)
    remaining = torch.where(present, scores[index], -1.0)
    candidates, line = boxes[index], torch.arange(len(index), device=boxes.device)
    picked = torch.full_like(remaining, -1.0)
    for _ in range(index.shape[1]):
        remaining = torch.where(remaining < min_score, -1.0, remaining)
        best, column = remaining.max(dim=1)
        if not (best > 0).any():
            break
        picked[line, column] = torch.maximum(picked[line, column], best)
        remaining[line, column] = -1.0
        overlap = pairwise_iou(candidates[line, column][:, None], candidates)[:, 0]
        remaining = remaining * decay(overlap)
    kept = picked > 0
    order = picked[kept].sort(descending=True, stable=True).indices
    return index[kept][order], picked[kept][order]


def rows_by_group(groups: Tensor) -> tuple[Tensor, Tensor]:
    """Indices (G, M) of the members of each group, in order and padded, and which of them are real (G, M) bool."""
    _, row, counts = groups.unique(return_inverse=True, return_counts=True)
    order = row.sort(stable=True).indices
    column = torch.arange(len(groups), device=groups.device) - (counts.cumsum(0) - counts)[row[order]]
    index = order.new_zeros(len(counts), int(counts.max()))
    present = torch.zeros_like(index, dtype=torch.bool)
    index[row[order], column], present[row[order], column] = order, True
    return index, present


def decay_function(method: str, iou_threshold: float, sigma: float) -> Decay:
    """From overlaps to factors of the scores. Raises BuildError for an unknown method."""
    decays: dict[str, Decay] = {
        "naive": lambda iou: (iou < iou_threshold).to(iou),
        "linear": lambda iou: torch.where(iou < iou_threshold, 1.0, 1 - iou),
        "gaussian": lambda iou: (-(iou**2) / sigma).exp(),
    }
    if method not in decays:
        raise BuildError(f"soft-NMS has no method '{method}'; known: {', '.join(decays)}")
    return decays[method]
