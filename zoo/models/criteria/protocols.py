"""What criteria ask of parts of heads. What they ask of a head stands with each criterion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from zoo.models.roi_heads.protocols import BoxOutputs, Extractor, MaskDecoder
from zoo.models.roi_heads.protocols import KeypointHead as KeypointPredictor
from zoo.models.roi_heads.protocols import MaskHead as MaskPredictor


class BoxCoder(Protocol):
    """Encodes boxes relative to priors, and back."""

    def encode(self, priors: Tensor, boxes: Tensor, /) -> Tensor:
        """What a head predicts for boxes (K, 4) xyxy. priors: (K, 4) anchors, or points as x, y, stride."""
        ...

    def decode(self, priors: Tensor, predictions: Tensor, size: tuple[int, int] | None = None, /) -> Tensor:
        """Boxes (K, 4) xyxy, clipped to `size` (h, w) if it is given."""
        ...


class PriorGenerator(Protocol):
    """Anchors or points of a feature pyramid. strides: (x, y) of each level. num_base_priors: in a cell of each."""

    strides: Sequence[tuple[int, int]]
    num_base_priors: Sequence[int]

    def grid_priors(self, sizes: Sequence[tuple[int, int]], device: torch.device | str = "cpu") -> list[Tensor]:
        """Priors (P, 4) of each level. sizes: (H, W) of the levels."""
        ...


class LossHead(Protocol):
    """loss_cfg: by the name of each loss, its description."""

    loss_cfg: Mapping[str, Any]


class ClassHead(LossHead, Protocol):
    """num_classes: of objects, without the background."""

    num_classes: int


class TrainedHead(ClassHead, Protocol):
    """train_cfg: the description of its assigner, sampler and so on."""

    train_cfg: Mapping[str, Any]


class DenseHead(ClassHead, Protocol):
    """cls_out_channels: class scores for each prior, with the background where the loss is a softmax."""

    cls_out_channels: int
    bbox_coder: BoxCoder


class AnchorHead(DenseHead, TrainedHead, Protocol):
    """reg_decoded_bbox: whether the loss compares boxes instead of what encodes them."""

    prior_generator: PriorGenerator
    reg_decoded_bbox: bool


class BoxHead(ClassHead, Protocol):
    """A box head of regions. reg_class_agnostic: one box for all classes."""

    bbox_coder: BoxCoder
    reg_class_agnostic: bool
    reg_decoded_bbox: bool


class MaskLearner(LossHead, MaskDecoder, Protocol):
    """What the loss of masks asks of a mask head of regions. class_agnostic: one mask for all classes."""

    class_agnostic: bool


class MaskHead(MaskLearner, MaskPredictor, Protocol):
    """A mask head of regions."""


class KeypointHead(KeypointPredictor, Protocol):
    """A head of regions' keypoints."""

    loss_weight: float


class RoIHead(Protocol):
    """A head on regions. train_cfg: as in `TrainedHead`."""

    train_cfg: Mapping[str, Any]
    bbox_head: BoxHead
    mask_head: MaskHead | None

    def box_outputs(self, features: Sequence[Tensor], rois: Tensor, /) -> BoxOutputs:
        """Class logits and deltas of regions (M, 5)."""
        ...

    def mask_logits(self, features: Sequence[Tensor], rois: Tensor, /) -> Tensor:
        """Mask logits (K, num_classes, h, w) of regions (K, 5)."""
        ...


class StandardHead(RoIHead, Protocol):
    """A head on regions with keypoints, and what pools its features."""

    bbox_roi_extractor: Extractor
    keypoint_head: KeypointHead | None

    def keypoint_heatmaps(self, features: Sequence[Tensor], rois: Tensor, /) -> Tensor:
        """Heatmaps of logits (K, P, S, S) of regions (K, 5)."""
        ...
