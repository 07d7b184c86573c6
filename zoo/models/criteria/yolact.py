"""Losses of YOLACT (Bolya et al., 2019, sections 3 and 4.3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo.errors import UsageError
from zoo.models.build import component
from zoo.models.criteria.anchor_head import AnchorTargets, anchor_targets, flatten, losses_of_targets
from zoo.models.criteria.protocols import AnchorHead, LossHead
from zoo.models.criteria.ssd import mined
from zoo.models.dense_heads.yolact_masks import crop
from zoo.models.losses.base import Loss
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


class PrototypeHead(Protocol):
    """A head whose masks are sums of prototypes."""

    loss_mask_weight: float
    max_masks_to_train: int


class YolactDetector(Protocol):
    """What these losses ask of a detector. segm_head: segments all pixels, in training only."""

    mask_head: PrototypeHead
    segm_head: LossHead


class YolactHeadLike(AnchorHead, Protocol):
    """What these losses ask of a head."""

    num_protos: int
    use_ohem: bool


def yolact_losses(
    head: YolactHeadLike,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
    prototypes: Tensor,
    segments: Tensor,
    detector: YolactDetector,
) -> dict[str, Tensor]:
    """`loss_cls` with the hardest negatives, `loss_bbox`, `loss_segm` and `loss_mask`.

    prototypes: (N, num_protos, H, W). segments: class logits (N, C, H', W'). detector: whose heads those are of.
    """
    targets, levels = anchor_targets(head, outputs[0], geometries, ground_truths, head.reg_decoded_bbox)
    anchors = torch.cat(levels).expand(len(geometries), -1, 4)
    losses = losses_of_targets(head, outputs, targets, anchors, [len(level) for level in levels])
    if head.use_ohem:
        losses = ohem_losses(head, outputs, targets, anchors)
    coefficients = flatten(outputs[2], head.num_protos)
    images = zip(prototypes, coefficients, targets.owners, geometries, ground_truths)
    masks, counts = zip(*(mask_loss(detector.mask_head, *image) for image in images))
    losses["loss_segm"] = segment_loss(component(detector.segm_head.loss_cfg["segm"]), segments, ground_truths)
    return {**losses, "loss_mask": torch.stack(masks).sum() / max(sum(counts), 1)}


def ohem_losses(
    head: YolactHeadLike, outputs: Sequence[Sequence[Tensor]], targets: AnchorTargets, anchors: Tensor
) -> dict[str, Tensor]:
    """`loss_cls` and `loss_bbox` over the positives and the hardest negatives, both divided by the positives."""
    logits, deltas = flatten(outputs[0], head.cls_out_channels), flatten(outputs[1], 4)
    if head.reg_decoded_bbox:
        deltas = head.bbox_coder.decode(anchors.reshape(-1, 4), deltas.reshape(-1, 4)).view_as(deltas)
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    ratio, scores = head.train_cfg["neg_pos_ratio"], []
    for x, labels, weights in zip(logits, targets.labels, targets.label_weights):
        losses, positive = loss_cls(x, labels, weights, reduction="none"), labels < head.num_classes
        scores.append(mined(losses, positive, ratio) if positive.any() else losses.sum())
    boxes = (x.flatten(0, 1) for x in (deltas, targets.boxes, targets.box_weights))
    return {
        "loss_cls": torch.stack(scores).sum() / targets.positives,
        "loss_bbox": loss_bbox(*boxes, targets.positives),
    }


def segment_loss(loss: Loss, segments: Tensor, ground_truths: Sequence[GroundTruth]) -> Tensor:
    """The loss of the segmentation, class by class and pixel by pixel."""
    size = segments.shape[-2:]
    parts = []
    for logits, ground_truth in zip(segments, ground_truths):
        goal = torch.zeros_like(logits)
        for mask, label in zip(shrunk(ground_truth, size), ground_truth.labels.tolist()):
            # One below the label, as in the reference: there, classes were once counted from one.
            goal[label - 1] = torch.max(goal[label - 1], mask)
        # Without an object nothing is learned.
        weight = None if len(ground_truth) else torch.zeros_like(logits)
        parts.append(loss(logits, goal, weight, len(segments) * size.numel() if len(ground_truth) else None))
    return torch.stack(parts).sum()


def mask_loss(
    mask_head: PrototypeHead,
    prototypes: Tensor,
    coefficients: Tensor,
    owners: Tensor,
    geometry: ImageGeometry,
    ground_truth: GroundTruth,
) -> tuple[Tensor, int]:
    """An image's loss of the masks of its positives, and how many of them there are.

    prototypes: (num_protos, H, W). coefficients: (P, num_protos). owners: (P,). Masks count by their box's share of the
    image, and of very many only a random choice is learned.
    """
    positive = (owners >= 0).nonzero().flatten()
    if len(positive) == 0:
        return prototypes.sum() * 0 + coefficients.sum() * 0, 0
    if len(positive) > mask_head.max_masks_to_train:
        positive = positive[torch.randperm(len(positive), device=positive.device)[: mask_head.max_masks_to_train]]
    boxes = ground_truth.boxes[owners[positive]]
    soft = torch.einsum("kp,phw->khw", coefficients[positive], prototypes).sigmoid()
    result = crop(soft, boxes, geometry.size).clamp(0, 1)
    wanted = shrunk(ground_truth, result.shape[-2:])[owners[positive]]
    # Over probabilities, since the crop has made zeros of them.
    loss = F.binary_cross_entropy(result, wanted, reduction="none").mean(dim=(1, 2))
    share = (boxes[:, 2:] - boxes[:, :2]) / boxes.new_tensor([geometry.size[1], geometry.size[0]])
    return mask_head.loss_mask_weight * (loss / share.prod(dim=1)).sum(), len(positive)


def shrunk(ground_truth: GroundTruth, size: tuple[int, int] | torch.Size) -> Tensor:
    """An image's masks (M, h, w) at another resolution, of zeros and ones. Raises UsageError where there are none."""
    if ground_truth.masks is None:
        raise UsageError("YOLACT learns masks: each image's target needs 'masks' (M, H, W) beside boxes and labels")
    if len(ground_truth.masks) == 0:
        return ground_truth.boxes.new_zeros(0, *size)
    small = F.interpolate(ground_truth.masks[None].float(), tuple(size), mode="bilinear", align_corners=False)[0]
    return (small > 0.5).float()
