"""Losses of EfficientDet (Tan et al., 2019, section 5.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo.models.build import component
from zoo.models.criteria.anchor_head import anchor_targets, flatten
from zoo.models.criteria.protocols import AnchorHead
from zoo.models.losses.reduction import mean_over_processes
from zoo.models.targets import GroundTruth
from zoo.structures import ImageGeometry


def efficientdet_losses(
    head: AnchorHead,
    outputs: Sequence[Sequence[Tensor]],
    geometries: Sequence[ImageGeometry],
    ground_truths: Sequence[GroundTruth],
) -> dict[str, Tensor]:
    """`loss_cls`, and `loss_bbox` averaged over the coordinates."""
    # Training images fill their padding in the reference: anchors beyond an image are background, too.
    step = head.prior_generator.strides[0]
    whole = ImageGeometry.of_input((outputs[0][0].shape[2] * step[1], outputs[0][0].shape[3] * step[0]))
    result, levels = anchor_targets(head, outputs[0], [whole] * len(geometries), ground_truths, head.reg_decoded_bbox)
    logits, deltas = flatten(outputs[0], head.cls_out_channels), flatten(outputs[1], 4)
    if head.reg_decoded_bbox:
        anchors = torch.cat(levels).expand(len(geometries), -1, 4).reshape(-1, 4)
        deltas = head.bbox_coder.decode(anchors, deltas.reshape(-1, 4)).view_as(deltas)
    average = mean_over_processes(logits.new_full((), float(result.positives))).clamp(min=1)
    loss_cls, loss_bbox = (component(head.loss_cfg[key]) for key in ("cls", "bbox"))
    classes = (x.flatten(0, 1) for x in (logits, result.labels, result.label_weights))
    boxes = (x.flatten(0, 1) for x in (deltas, result.boxes, result.box_weights))
    return {"loss_cls": loss_cls(*classes, average), "loss_bbox": loss_bbox(*boxes, average * 4)}
