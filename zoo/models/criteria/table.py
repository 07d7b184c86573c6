"""Which heads can be trained, and how.

The table is by exact class: a head that inherits another's layers does not inherit its losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pkgutil import resolve_name
from typing import Protocol

import torch
from torch import Tensor, nn

from zoo.errors import NotTrainable
from zoo.models.layers.precision import full_precision

# Class of a head -> "module:function" below zoo.models.criteria. Dense heads:
# (head, outputs, geometries, ground_truths) -> dict; heads on regions: (head, features, proposals, geometries,
# ground_truths) -> dict.
LOSSES = {
    "ATSSHead": "atss:atss_losses",
    "CascadeRoIHead": "cascade_roi:cascade_losses",
    "DecoupledSOLOHead": "solo:decoupled_losses",
    "DecoupledSOLOLightHead": "solo:decoupled_losses",
    "AlignDETRHead": "align_detr:align_detr_losses",
    "CoATSSHead": "atss:atss_losses",
    "CoDINOHead": "dino:dino_losses",
    "CoStandardRoIHead": "standard_roi:standard_losses",
    "ConditionalDETRHead": "detr:detr_losses",
    "DABDETRHead": "detr:detr_losses",
    "DDQDETRHead": "ddq:ddq_losses",
    "DETRBranches": "detr:detr_losses",
    "DETRHead": "detr:detr_losses",
    "DINOHead": "dino:dino_losses",
    "DeformableDETRBranches": "detr:detr_losses",
    "DeformableDETRHead": "detr:detr_losses",
    "DynamicDiffusionDetHead": "diffusiondet:diffusiondet_losses",
    "DoubleHeadRoIHead": "standard_roi:standard_losses",
    "DynamicRoIHead": "dynamic_roi:dynamic_losses",
    "EfficientDetSepBNHead": "efficientdet:efficientdet_losses",
    "FCOSHead": "fcos:fcos_losses",
    "GFLHead": "gfl:gfl_losses",
    "GridRoIHead": "grid_roi:grid_losses",
    "LADHead": "paa:lad_losses",
    "LDHead": "gfl:gfl_losses",
    "HybridTaskCascadeRoIHead": "htc:htc_losses",
    "Mask2FormerHead": "maskformer:mask2former_losses",
    "MaskFormerHead": "maskformer:maskformer_losses",
    "PISASSDHead": "pisa:pisa_ssd_losses",
    "MultiInstanceRoIHead": "multi_instance:multi_instance_losses",
    "PISARoIHead": "pisa:pisa_region_losses",
    "PointRendRoIHead": "point_rend:point_rend_losses",
    "PISARetinaHead": "pisa:pisa_retina_losses",
    "RPNHead": "anchor_head:rpn_losses",
    "RetinaHead": "anchor_head:anchor_losses",
    "RetinaSepBNHead": "anchor_head:anchor_losses",
    "SABLRetinaHead": "sabl:sabl_retina_losses",
    "SCNetRoIHead": "htc:scnet_losses",
    "SSDHead": "ssd:ssd_losses",
    "SOLOHead": "solo:solo_losses",
    "SOLOV2Head": "solo:solov2_losses",
    "SparseRoIHead": "sparse_rcnn:sparse_losses",
    "StandardRoIHead": "standard_roi:standard_losses",
    "TridentRoIHead": "standard_roi:standard_losses",
    "AutoAssignHead": "autoassign:autoassign_losses",
    "CascadeRPNHead": "cascade_rpn:cascade_rpn_losses",
    "CenterNetHead": "centernet:centernet_losses",
    "BoxInstBboxHead": "boxinst:boxinst_losses",
    "CondInstBboxHead": "condinst:condinst_losses",
    "CenterNetUpdateHead": "centernet_update:centernet_update_losses",
    "CentripetalHead": "corner:centripetal_losses",
    "CornerHead": "corner:corner_losses",
    "DDODHead": "ddod:ddod_losses",
    "FSAFHead": "fsaf:fsaf_losses",
    "FoveaHead": "fovea:fovea_losses",
    "FreeAnchorRetinaHead": "free_anchor:free_anchor_losses",
    "GARPNHead": "guided_anchor:guided_rpn_losses",
    "GARetinaHead": "guided_anchor:guided_losses",
    "MaskScoringRoIHead": "mask_scoring:mask_scoring_losses",
    "NASFCOSHead": "fcos:fcos_losses",
    "PAAHead": "paa:paa_losses",
    "RTMDetInsSepBNHead": "rtmdet:rtmdet_ins_losses",
    "RTMDetSepBNHead": "rtmdet:rtmdet_losses",
    "RepPointsHead": "reppoints:reppoints_losses",
    "TOODHead": "tood:tood_losses",
    "VFNetHead": "vfnet:vfnet_losses",
    "YOLACTHead": "yolact:yolact_losses",
    "YOLOFHead": "yolof:yolof_losses",
    "YOLOV3Head": "yolov3:yolov3_losses",
    "YOLOXHead": "yolox:yolox_losses",
}


class Parametrized(Protocol):
    """A module, for the device of its weights."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """Its weights."""
        ...


def losses_of(head: object) -> Callable[..., dict[str, Tensor]]:
    """The function that computes a head's losses. Raises NotTrainable for a head without one."""
    kind = type(head).__name__
    if kind not in LOSSES:
        raise NotTrainable(f"{kind} does not support training (inference only)")
    function: Callable[..., dict[str, Tensor]] = resolve_name("zoo.models.criteria." + LOSSES[kind])
    return function


def dense_losses(head: Parametrized, outputs: object, *rest: object) -> dict[str, Tensor]:
    """A dense head's losses in full precision, also of outputs in half: so many small terms do not add up in that.

    rest: what the head's function takes beside its outputs.
    """
    with torch.autocast(next(head.parameters()).device.type, enabled=False):
        return losses_of(head)(head, full_precision(outputs), *rest)
