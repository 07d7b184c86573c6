"""Matrix non-maximum suppression of masks (Wang et al., SOLOv2, 2020, section 3.3)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from zoo.errors import BuildError
from zoo.models.layers.ranking import ranked
from zoo.models.layers.tracing import recording


def matrix_nms(
    masks: Tensor, labels: Tensor, scores: Tensor, areas: Tensor, cfg: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    """Scores lowered by how much better masks of the same class overlap, all at once.

    masks: (K, h, w) bool, best first. labels, scores, areas: (K,). cfg: masks that keep `filter_thr` stay, at most
    `max_per_img`; `kernel` is "gaussian" (with `sigma`) or "linear".
    Returns the indices kept, best first, and their new scores.
    """
    if not recording() and len(scores) == 0:
        return labels, scores
    scores = scores * decay(overlaps(masks, areas, labels), cfg)
    kept = (scores >= max(cfg.get("filter_thr", -1), 0)).nonzero().squeeze(1)
    scores, order = ranked(scores[kept])
    limit = cfg["max_per_img"] if cfg.get("max_per_img", -1) > 0 else order.shape[0]
    return kept[order[:limit]], scores[:limit]


def overlaps(masks: Tensor, areas: Tensor, labels: Tensor) -> Tensor:
    """IoU (K, K) of each mask (column) with better ones (rows) of its class, zero for all others."""
    flat = masks.flatten(1).float()
    shared = flat @ flat.T
    iou = shared / (areas[:, None] + areas - shared)
    return (iou * (labels[:, None] == labels)).triu(diagonal=1)


def decay(iou: Tensor, cfg: Mapping[str, Any]) -> Tensor:
    """Factor (K,) of each score: its worst overlap, compensated by how much the better mask is itself overlapped."""
    compensation = iou.amax(dim=0)[:, None]
    kernel = cfg.get("kernel", "gaussian")
    if kernel == "gaussian":
        sigma = cfg.get("sigma", 2.0)
        return (torch.exp(-sigma * iou**2) / torch.exp(-sigma * compensation**2)).amin(dim=0)
    if kernel == "linear":
        return ((1 - iou) / (1 - compensation)).amin(dim=0)
    raise BuildError(f"matrix NMS has no kernel '{kernel}'; known: gaussian, linear")
