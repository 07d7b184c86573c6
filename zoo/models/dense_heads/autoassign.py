"""AutoAssign's head (Zhu et al., Differentiable Label Assignment for Dense Object Detection, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from zoo.models.dense_heads.fcos import FCOSHead
from zoo.models.dense_heads.towers import prior_bias
from zoo.models.priors.points import PointGenerator


class CenterPrior(nn.Module):
    """Where within its box a class is found: a Gaussian per class, learned with the network (section 3.3).

    mean, sigma: (num_classes, 2), in strides from the box's center. force_topk, topk: a box without a cell inside takes
    the `topk` likeliest. Needed in training only.
    """

    def __init__(self, force_topk: bool, topk: int, num_classes: int, strides: Sequence[int]) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(num_classes, 2))
        self.sigma = nn.Parameter(torch.ones(num_classes, 2))
        self.force_topk, self.topk, self.strides = force_topk, topk, tuple(strides)


class AutoAssignHead(FCOSHead):
    """FCOS's layers; the third output is an objectness, learned without labels of its own.

    force_topk, topk: see `CenterPrior`. The loss weights are those of the paper's three terms.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        force_topk: bool = False,
        topk: int = 9,
        pos_loss_weight: float = 0.25,
        neg_loss_weight: float = 0.75,
        center_loss_weight: float = 0.75,
        **kwargs: Any,
    ) -> None:
        fixed: dict[str, Any] = {"conv_bias": True, "norm_on_bbox": True, "centerness_on_reg": True}
        super().__init__(num_classes, in_channels, **fixed, **kwargs)
        self.prior_generator = PointGenerator(self.strides, offset=0)
        self.center_prior = CenterPrior(force_topk, topk, num_classes, self.strides)
        self.loss_weights = {"pos": pos_loss_weight, "neg": neg_loss_weight, "center": center_loss_weight}
        nn.init.constant_(self.conv_cls.bias, prior_bias(0.02))  # type: ignore[arg-type]
        nn.init.constant_(self.conv_reg.bias, 4.0)  # type: ignore[arg-type]

    def distances(self, x: Tensor, stride: int) -> Tensor:
        """Distances in pixels, in training too."""
        return x.clamp(min=0) * stride
