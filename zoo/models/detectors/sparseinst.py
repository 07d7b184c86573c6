"""SparseInst (Cheng et al., Sparse Instance Activation for Real-Time Instance Segmentation, 2022)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.models.build import component
from zoo.models.detectors.base import Detector
from zoo.models.layers.precision import full_precision
from zoo.models.targets import GroundTruth
from zoo.structures import Detections, ImageGeometry

CRITERION = {"type": "SparseInstCriterion", "assigner": {"type": "SparseInstMatcher"}}


class SparseInst(Detector):
    """Instances with masks and without boxes, which are all zero. criterion: what it learns from."""

    learns_masks = True

    def __init__(
        self,
        backbone: Mapping[str, Any],
        encoder: Mapping[str, Any],
        decoder: Mapping[str, Any],
        criterion: Mapping[str, Any] | None = None,
        test_cfg: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(backbone)
        self.encoder, self.decoder = component(encoder), component(decoder)
        self.criterion_cfg, self.test_cfg = criterion or CRITERION, test_cfg or {}

    def outputs(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Class logits (N, Q, C), objectness logits (N, Q) and mask logits (N, Q, H, W)."""
        result: tuple[Tensor, Tensor, Tensor] = full_precision(self.decoder(self.encoder(self.features(images))))
        return result

    def predict(self, images: Tensor, geometries: Sequence[ImageGeometry], *args: Any) -> list[Detections]:
        """Instances with masks in output coordinates."""
        logits, objectness, masks = self.outputs(images)
        scores = (logits.sigmoid() * objectness.sigmoid()[..., None]).sqrt()
        size = (images.shape[2], images.shape[3])
        return [self.instances(s, m, size, g) for s, m, g in zip(scores, masks.sigmoid(), geometries)]

    def instances(self, scores: Tensor, soft: Tensor, size: tuple[int, int], geometry: ImageGeometry) -> Detections:
        """One image's. scores: (Q, C). soft: probabilities (Q, H, W) of the padded input, whose (h, w) is `size`.

        A score counts as much as the mask's pixels are certain on average.
        """
        best, labels = scores.max(dim=1)
        keep = (best > self.test_cfg["score_thr"]).nonzero().flatten()
        soft, threshold = soft[keep], self.test_cfg["mask_thr_binary"]
        inside = soft > threshold
        certainty = (soft * inside).sum(dim=(1, 2)) / (inside.sum(dim=(1, 2)) + 1e-6)
        ranked, order = (best[keep] * certainty).sort(descending=True, stable=True)
        masks = self.stretched(soft[order], size, geometry) > threshold
        return Detections(scores.new_zeros((len(ranked), 4)), ranked, labels[keep][order], masks)

    def stretched(self, soft: Tensor, size: tuple[int, int], geometry: ImageGeometry) -> Tensor:
        """Probabilities (K, h, w) of a padded input of `size` as those of the output image (K, H, W)."""
        if len(soft) == 0:
            return soft.new_zeros((0, *geometry.output_size))
        soft = F.interpolate(soft[:, None], size, mode="bilinear")[:, :, : geometry.size[0], : geometry.size[1]]
        return F.interpolate(soft, geometry.output_size, mode="bilinear")[:, 0]

    def compute_losses(
        self, images: Tensor, geometries: Sequence[ImageGeometry], ground_truths: Sequence[GroundTruth]
    ) -> dict[str, Tensor]:
        """Losses of classes, objectness and masks."""
        result = self.outputs(images)
        with torch.autocast(images.device.type, enabled=False):
            losses: dict[str, Tensor] = component(self.criterion_cfg)(*result, ground_truths)
        return losses
