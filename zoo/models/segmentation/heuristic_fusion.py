"""Instances and stuff merged into one panoptic map (Kirillov et al., Panoptic Segmentation, 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

INSTANCE_OFFSET = 1000


class HeuristicFusionHead(nn.Module):
    """Instances are laid down best first, stuff fills the rest.

    test_cfg: `mask_overlap`, the covered share above which an instance is dropped, `stuff_area_limit`, the visible area
    in pixels below which a stuff class is void, and optionally `instance_score_thr`, below which an instance is left
    out of the map though it is a detection (Detectron2).
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

    def forward(self, masks: Tensor, labels: Tensor, logits: Tensor, scores: Tensor | None = None) -> Tensor:
        """Panoptic map (H, W) int64: label + 1000 * instance, void = number of classes.

        masks: (K, H, W) bool, best first. labels, scores: (K,), scores only where instances need one to be laid down.
        logits: (num_stuff_classes + 1, H, W), things last.
        """
        if scores is not None and "instance_score_thr" in self.test_cfg:
            masks = masks & (scores >= self.test_cfg["instance_score_thr"])[:, None, None]
        owner, kept = lay_masks(masks, self.test_cfg["mask_overlap"])
        ids = torch.cat([labels.new_zeros(1), labels + INSTANCE_OFFSET * kept.cumsum(dim=0)])
        stuff = logits.argmax(dim=0) + self.num_things_classes
        area = torch.bincount(stuff[owner == 0], minlength=self.num_classes + 1)
        stuff = torch.where(area[stuff] < self.test_cfg["stuff_area_limit"], self.num_classes, stuff)
        return torch.where(owner > 0, ids[owner], stuff)


def lay_masks(masks: Tensor, overlap: float) -> tuple[Tensor, Tensor]:
    """Which mask owns each pixel, the first one winning.

    masks: (K, H, W) bool. overlap: a mask of which more than this share is covered already owns nothing.
    Returns owners (H, W), 0 for none, else 1 + index; and (K,) bool, which masks own anything.
    """
    owner = torch.zeros(masks.shape[1:], dtype=torch.long, device=masks.device)
    area, kept = masks.sum(dim=(1, 2)), []
    for i, mask in enumerate(masks):
        part = mask & (owner == 0)
        covered = (area[i] - part.sum()) / (area[i] + 1e-5)
        kept.append((area[i] > 0) & (covered <= overlap))
        owner = torch.where(part & kept[-1], i + 1, owner)
    return owner, torch.stack(kept) if kept else area.bool()
