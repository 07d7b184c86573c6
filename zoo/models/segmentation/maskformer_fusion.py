"""From queries' classes and masks to panoptic maps and instances (Cheng et al., MaskFormer, 2021, section 3.4)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.layers.ranking import ranked
from zoo.models.segmentation.heuristic_fusion import INSTANCE_OFFSET
from zoo.structures import Detections

# Masks (K, h, w) to the size of the output (K, H, W).
Resize = Callable[[Tensor], Tensor]
# Masks that are enlarged together: a hundred of 800 x 1216 pixels would take 389 MB, and as much for every step.
AT_ONCE = 8


def as_is(masks: Tensor) -> Tensor:
    """Masks that have the size of the output already."""
    return masks


class MaskFormerFusionHead(nn.Module):
    """Panoptic maps, instances, or both.

    test_cfg: `panoptic_on`, `instance_on`; for panoptic maps `object_mask_thr` of a query's score, `iou_thr` of its
    visible share, `filter_low_score` for pixels that its own mask excludes; for instances `max_per_image`.
    """

    def __init__(
        self,
        num_things_classes: int = 80,
        num_stuff_classes: int = 53,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.num_things_classes, self.num_classes = num_things_classes, num_things_classes + num_stuff_classes
        self.test_cfg = test_cfg or {}

    def forward(self, logits: Tensor, masks: Tensor, resize: Resize = as_is) -> Detections:
        """One image's result.

        logits: (Q, num_classes + 1). masks: (Q, h, w) logits. resize: masks (K, h, w) to output coordinates (K, H, W);
        only those of chosen queries are resized.
        """
        detections = Detections.empty(masks)
        if self.test_cfg.get("instance_on", False):
            detections = self.instances(logits, masks, resize)
        if self.test_cfg.get("panoptic_on", True):
            detections.panoptic = self.panoptic(logits, masks, resize)
        return detections

    def panoptic(self, logits: Tensor, masks: Tensor, resize: Resize = as_is) -> Tensor:
        """Panoptic map (H, W) int64: label + 1000 * instance, void = number of classes."""
        scores, labels = logits.softmax(-1).max(-1)
        kept = (labels != self.num_classes) & (scores > self.test_cfg.get("object_mask_thr", 0.8))
        kept = kept.nonzero().squeeze(1)  # once: as a mask it would be counted for each of the three
        scores, labels, masks = scores[kept], labels[kept], resize(masks[kept]).sigmoid()
        if len(labels) == 0:
            return torch.full(masks.shape[1:], self.num_classes, dtype=torch.long, device=masks.device)
        owner = (scores[:, None, None] * masks).argmax(dim=0)
        inside = masks >= 0.5
        visible = torch.bincount(owner.flatten(), minlength=len(labels)).double()
        whole = inside.sum(dim=(1, 2)).double()
        valid = (visible > 0) & (whole > 0) & (visible / whole >= self.test_cfg.get("iou_thr", 0.8))
        things = valid & (labels < self.num_things_classes)
        ids = torch.where(valid, labels + INSTANCE_OFFSET * things * things.cumsum(dim=0), self.num_classes)
        if not self.test_cfg.get("filter_low_score", False):
            return ids[owner]
        return torch.where(inside.gather(0, owner[None])[0], ids[owner], self.num_classes)

    def instances(self, logits: Tensor, masks: Tensor, resize: Resize = as_is) -> Detections:
        """The best pairs of query and thing class; scores are class times mean mask probability."""
        scores = logits.softmax(-1)[:, :-1].flatten()
        scores, order = scores.topk(min(self.test_cfg.get("max_per_image", 100), len(scores)))
        labels, query = order % self.num_classes, order // self.num_classes
        things = (labels < self.num_things_classes).nonzero().squeeze(1)
        scores, labels, chosen = scores[things], labels[things], masks[query[things]]
        inside, certainty = map(torch.cat, zip(*(certain(resize(some)) for some in chosen.split(AT_ONCE))))
        scores, order = ranked(scores * certainty)
        return Detections(mask_boxes(inside[order]), scores, labels[order], inside[order])


def certain(masks: Tensor) -> tuple[Tensor, Tensor]:
    """Which pixels (K, H, W) are inside of masks (K, H, W) of logits, and their mean probability (K,)."""
    inside = masks > 0
    return inside, (masks.sigmoid() * inside).sum((1, 2)) / (inside.sum((1, 2)) + 1e-6)


def mask_boxes(masks: Tensor) -> Tensor:
    """Tight boxes (K, 4) xyxy, float32, of masks (K, H, W) bool; zeros for an empty mask."""
    columns, rows = masks.any(dim=1), masks.any(dim=2)
    edges = [first(columns), first(rows), last(columns), last(rows)]
    return torch.stack(edges, dim=1).float() * columns.any(dim=1, keepdim=True)


def first(line: Tensor) -> Tensor:
    """Index (K,) of the first True of (K, L)."""
    return line.int().argmax(dim=1)


def last(line: Tensor) -> Tensor:
    """Index (K,) behind the last True of (K, L)."""
    return line.shape[1] - line.flip(1).int().argmax(dim=1)
