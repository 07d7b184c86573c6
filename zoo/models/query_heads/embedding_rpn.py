"""Learned proposals instead of a proposal network (Sun et al., Sparse R-CNN, 2021, section 3)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from zoo.models.box_ops import box_convert
from zoo.models.layers.constants import extents
from zoo.structures import ImageGeometry


class EmbeddingRPNHead(nn.Module):
    """`num_proposals` boxes, as shares of the image, and a feature vector for each."""

    def __init__(self, num_proposals: int = 100, proposal_feature_channel: int = 256) -> None:
        super().__init__()
        self.init_proposal_bboxes = nn.Embedding(num_proposals, 4)
        self.init_proposal_features = nn.Embedding(num_proposals, proposal_feature_channel)
        with torch.no_grad():
            self.init_proposal_bboxes.weight.copy_(torch.tensor([0.5, 0.5, 1.0, 1.0]))

    def forward(self, geometries: Sequence[ImageGeometry]) -> tuple[list[Tensor], Tensor]:
        """Per image boxes (Q, 4) xyxy in input coordinates, and the features (N, Q, C)."""
        boxes = box_convert(self.init_proposal_bboxes.weight, "cxcywh", "xyxy")
        features = self.init_proposal_features.weight
        sizes = [extents([geometry.size], boxes).repeat(1, 2) for geometry in geometries]
        return [boxes * size for size in sizes], features.expand(len(geometries), -1, -1)
