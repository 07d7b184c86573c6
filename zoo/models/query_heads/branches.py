"""Classes and boxes of queries whose transformer belongs to the detector, as in MMDetection 3.x."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo.models.dense_heads.towers import prior_bias
from zoo.models.query_heads.detr_head import QueryPredictor
from zoo.models.transformer.feedforward import FFN
from zoo.models.transformer.mlp import MLP
from zoo.models.transformer.reference_points import moved


class DETRBranches(QueryPredictor):
    """One class branch and one box branch for all decoder layers (Carion et al., DETR, 2020)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fc_cls = nn.Linear(self.embed_dims, self.cls_out_channels)
        self.reg_ffn = FFN(self.embed_dims, self.embed_dims, self.num_reg_fcs, add_identity=False)
        self.fc_reg: nn.Module = nn.Linear(self.embed_dims, 4)

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (layers, N, Q, classes) and boxes (layers, N, Q, 4), cxcywh as shares of the image.

        states: (layers, N, Q, C).
        """
        return self.fc_cls(states), self.fc_reg(F.relu(self.reg_ffn(states))).sigmoid()


class ConditionalDETRHead(DETRBranches):
    """The same branches; boxes lie relative to points (Meng et al., Conditional DETR, 2021)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if self.use_sigmoid:
            nn.init.constant_(self.fc_cls.bias, prior_bias())

    def forward(self, states: Tensor, points: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """As `DETRBranches`. points: (N, Q, 2), x, y as shares of the image."""
        return self.fc_cls(states), moved(points, self.fc_reg(F.relu(self.reg_ffn(states))))


class DABDETRHead(QueryPredictor):
    """One class branch, and one box branch that the decoder uses too (Liu et al., DAB-DETR, 2022)."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fc_cls = nn.Linear(self.embed_dims, self.cls_out_channels)
        self.fc_reg = MLP(self.embed_dims, self.embed_dims, 4, 3)
        if self.use_sigmoid:
            nn.init.constant_(self.fc_cls.bias, prior_bias())
        still(self.fc_reg.layers[-1])

    def forward(self, states: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (layers, N, Q, classes) and boxes (layers, N, Q, 4), cxcywh as shares of the image.

        states: (layers, N, Q, C). boxes: (layers, N, Q, 2 or 4), where each layer started from.
        """
        return self.fc_cls(states), moved(boxes, self.fc_reg(states), eps=1e-3)


class DeformableDETRBranches(QueryPredictor):
    """A class branch and a box branch per decoder layer (Zhu et al., Deformable DETR, 2021).

    num_pred_layer: how many of each; in two stages the last one is the encoder's. share_pred_layer: they are one and
    the same. Both are the detector's to say.
    """

    def __init__(
        self, share_pred_layer: bool = False, num_pred_layer: int = 6, as_two_stage: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.num_pred_layer, self.as_two_stage = num_pred_layer, as_two_stage
        clone = (lambda module: module) if share_pred_layer else copy.deepcopy
        channels = self.embed_dims
        hidden = [m for _ in range(self.num_reg_fcs) for m in (nn.Linear(channels, channels), nn.ReLU())]
        classify, regress = nn.Linear(channels, self.cls_out_channels), nn.Sequential(*hidden, nn.Linear(channels, 4))
        if self.use_sigmoid:
            nn.init.constant_(classify.bias, prior_bias())
        still(regress[-1])
        self.cls_branches = nn.ModuleList(clone(classify) for _ in range(num_pred_layer))
        self.reg_branches = nn.ModuleList(clone(regress) for _ in range(num_pred_layer))
        if not as_two_stage:
            nn.init.constant_(self.reg_branches[0].get_parameter(f"{2 * self.num_reg_fcs}.bias")[2:], -2.0)

    def forward(self, states: Tensor, points: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Class logits (layers, N, Q, classes) and boxes (layers, N, Q, 4), cxcywh as shares of the image.

        states: (layers, N, Q, C). points: per layer (N, Q, 2 or 4), where it started from.
        """
        logits = torch.stack([branch(x) for branch, x in zip(self.cls_branches, states)])
        boxes = torch.stack([moved(p, branch(x)) for p, branch, x in zip(points, self.reg_branches, states)])
        return logits, boxes


class DINOHead(DeformableDETRBranches):
    """The same; its losses know the denoising queries (Zhang et al., DINO, 2023)."""


class DDQDETRHead(DINOHead):
    """Auxiliary branches learn from dense queries, in training only (Zhang et al., DDQ, 2023).

    aux_num_pos: dense queries that each object is assigned. The last branch of `cls_branches` and `reg_branches` is
    the encoder's for dense queries.
    """

    def __init__(self, aux_num_pos: int = 4, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.aux_num_pos = aux_num_pos
        for branches in (self.cls_branches, self.reg_branches):
            branches.append(copy.deepcopy(branches[-1]))
        layers = range(self.num_pred_layer - 1)
        self.aux_cls_branches = nn.ModuleList(copy.deepcopy(self.cls_branches[-1]) for _ in layers)
        self.aux_reg_branches = nn.ModuleList(copy.deepcopy(self.reg_branches[-1]) for _ in layers)

    def forward_dense(self, states: Tensor, boxes: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """What `forward` returns, from the auxiliary branches."""
        logits = torch.stack([branch(x) for branch, x in zip(self.aux_cls_branches, states)])
        deltas = [branch(x) for branch, x in zip(self.aux_reg_branches, states)]
        return logits, torch.stack([moved(b, d) for b, d in zip(boxes, deltas)])


class AlignDETRHead(DINOHead):
    """Classifies how well a box fits, and takes several queries per object (Cai et al., Align-DETR, 2023).

    all_layers_num_gt_repeat: queries that an object gets, per decoder layer, and last the encoder's. alpha, gamma, tau:
    of the loss.
    """

    def __init__(
        self,
        all_layers_num_gt_repeat: Sequence[int] | None = None,
        alpha: float = 0.25,
        gamma: float = 2.0,
        tau: float = 1.5,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha, self.gamma, self.tau = alpha, gamma, tau
        repeats = all_layers_num_gt_repeat or [1] * self.num_pred_layer
        self.all_layers_num_gt_repeat = tuple(repeats)


def still(layer: nn.Module) -> None:
    """Boxes start where their reference points are."""
    nn.init.zeros_(layer.get_parameter("weight"))
    nn.init.zeros_(layer.get_parameter("bias"))
