"""From an architecture's description, nested plain data, to modules.

`COMPONENTS` is the one table of what exists. A description is a mapping with a `type`; its other keys are the keyword
arguments of that component's constructor, and nested descriptions are built by the component that owns them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from difflib import get_close_matches
from pkgutil import resolve_name
from typing import Any

from torch import nn

from zoo.errors import BuildError

# Type name in a description -> "module:class" below zoo.models; imported when first built.
COMPONENTS: dict[str, str] = {
    # detectors
    "ATSS": "detectors.single_stage:SingleStageDetector",
    "AutoAssign": "detectors.single_stage:SingleStageDetector",
    "CascadeRCNN": "detectors.two_stage:TwoStageDetector",
    "DDOD": "detectors.single_stage:SingleStageDetector",
    "DETR": "detectors.detr:DETR",
    "DeformableDETR": "detectors.detr:DETR",
    "FCOS": "detectors.single_stage:SingleStageDetector",
    "FOVEA": "detectors.single_stage:SingleStageDetector",
    "FSAF": "detectors.single_stage:SingleStageDetector",
    "FastRCNN": "detectors.two_stage:FastRCNN",
    "FasterRCNN": "detectors.two_stage:TwoStageDetector",
    "GFL": "detectors.single_stage:SingleStageDetector",
    "KnowledgeDistillationSingleStageDetector": "detectors.single_stage:SingleStageDetector",
    "LAD": "detectors.single_stage:SingleStageDetector",
    "MaskRCNN": "detectors.two_stage:TwoStageDetector",
    "NASFCOS": "detectors.single_stage:SingleStageDetector",
    "PAA": "detectors.single_stage:SingleStageDetector",
    "RPN": "detectors.two_stage:RPN",
    "RetinaNet": "detectors.single_stage:SingleStageDetector",
    "SingleStageDetector": "detectors.single_stage:SingleStageDetector",
    "YOLOF": "detectors.single_stage:SingleStageDetector",
    "YOLOX": "detectors.single_stage:YOLOX",
    # backbones
    "CSPDarknet": "backbones.csp_darknet:CSPDarknet",
    "ResNeXt": "backbones.resnet:ResNet",
    "ResNet": "backbones.resnet:ResNet",
    "ResNetV1d": "backbones.resnet:ResNetV1d",
    # necks
    "ChannelMapper": "necks.channel_mapper:ChannelMapper",
    "DilatedEncoder": "necks.dilated_encoder:DilatedEncoder",
    "FPN": "necks.fpn:FPN",
    "YOLOXPAFPN": "necks.yolox_pafpn:YOLOXPAFPN",
    # dense heads
    "ATSSHead": "dense_heads.atss:ATSSHead",
    "AutoAssignHead": "dense_heads.autoassign:AutoAssignHead",
    "DDODHead": "dense_heads.ddod:DDODHead",
    "DETRHead": "queries.detr_head:DETRHead",
    "DeformableDETRHead": "queries.deformable_detr_head:DeformableDETRHead",
    "FCOSHead": "dense_heads.fcos:FCOSHead",
    "FSAFHead": "dense_heads.fsaf:FSAFHead",
    "FoveaHead": "dense_heads.fovea:FoveaHead",
    "FreeAnchorRetinaHead": "dense_heads.retina:RetinaHead",
    "GFLHead": "dense_heads.gfl:GFLHead",
    "LADHead": "dense_heads.paa:PAAHead",
    "LDHead": "dense_heads.gfl:GFLHead",
    "NASFCOSHead": "dense_heads.fcos:NASFCOSHead",
    "PAAHead": "dense_heads.paa:PAAHead",
    "PISARetinaHead": "dense_heads.retina:RetinaHead",
    "RPNHead": "dense_heads.rpn:RPNHead",
    "RetinaHead": "dense_heads.retina:RetinaHead",
    "RetinaSepBNHead": "dense_heads.retina_sepbn:RetinaSepBNHead",
    "YOLOFHead": "dense_heads.yolof:YOLOFHead",
    "YOLOXHead": "dense_heads.yolox:YOLOXHead",
    # heads on regions of interest
    "BBoxHead": "roi_heads.bbox_head:BBoxHead",
    "CascadeRoIHead": "roi_heads.cascade:CascadeRoIHead",
    "ConvFCBBoxHead": "roi_heads.convfc_bbox_head:ConvFCBBoxHead",
    "FCNMaskHead": "roi_heads.fcn_mask_head:FCNMaskHead",
    "ResLayer": "roi_heads.res_layer:SharedResLayer",
    "Shared2FCBBoxHead": "roi_heads.convfc_bbox_head:Shared2FCBBoxHead",
    "Shared4Conv1FCBBoxHead": "roi_heads.convfc_bbox_head:Shared4Conv1FCBBoxHead",
    "SingleRoIExtractor": "roi_heads.extractor:SingleRoIExtractor",
    "StandardRoIHead": "roi_heads.standard:StandardRoIHead",
    # transformers
    "BaseTransformerLayer": "queries.layers:TransformerLayer",
    "DeformableDetrTransformer": "queries.deformable_transformer:DeformableDetrTransformer",
    "DeformableDetrTransformerDecoder": "queries.deformable_transformer:DeformableDetrTransformerDecoder",
    "DetrTransformerDecoder": "queries.layers:DetrTransformerDecoder",
    "DetrTransformerDecoderLayer": "queries.layers:TransformerLayer",
    "DetrTransformerEncoder": "queries.layers:DetrTransformerEncoder",
    "FFN": "queries.feedforward:FFN",
    "MultiScaleDeformableAttention": "queries.deformable_attention:MultiScaleDeformableAttention",
    "MultiheadAttention": "queries.attention:MultiheadAttention",
    "SinePositionalEncoding": "queries.positions:SinePositionalEncoding",
    "Transformer": "queries.detr_transformer:Transformer",
    # box coders and priors
    "AnchorGenerator": "priors.anchors:AnchorGenerator",
    "DeltaXYWHBBoxCoder": "coders.delta:DeltaXYWHCoder",
    "DistancePointBBoxCoder": "coders.distance:DistancePointCoder",
    "TBLRBBoxCoder": "coders.tblr:TBLRCoder",
}

# Settings that only training or initialisation needs: dropped for a component that does not take them.
TRAINING_ONLY = ("loss", "train_cfg", "init_cfg", "pretrained", "teacher", "with_cp")


def component(description: Mapping[str, Any] | list[Mapping[str, Any]], /, **context: Any) -> Any:
    """The object that `description` describes; a list of descriptions is a chain of modules (FPN and what refines it).

    context: what the owner hands down (`test_cfg`, `train_cfg`, ...), passed on where the constructor takes it and the
    description does not say otherwise. Raises BuildError for an unknown type or argument, or a missing one.
    """
    if isinstance(description, (list, tuple)):
        return nn.Sequential(*(component(link, **context) for link in description))
    kind, arguments = split(description)
    cls = find(kind)
    accepted = parameters(cls)
    settings = {k: v for k, v in context.items() if k in accepted}
    settings.update({k: v for k, v in arguments.items() if k in accepted or not k.startswith(TRAINING_ONLY)})
    unknown = sorted(set(settings) - accepted)
    if unknown:
        raise BuildError(
            f"{kind} takes no argument '{unknown[0]}'; it takes {', '.join(sorted(accepted))}", kind, unknown[0]
        )
    missing = sorted(required(cls) - set(settings))
    if missing:
        raise BuildError(f"{kind} needs the argument '{missing[0]}'", kind)
    return cls(**settings)


def split(description: Any) -> tuple[str, dict[str, Any]]:
    """A description's type and its other settings."""
    if not isinstance(description, Mapping) or "type" not in description:
        raise BuildError(f"a component is described by a mapping with a 'type', not by {description!r:.200}")
    arguments = dict(description)
    return arguments.pop("type"), arguments


def find(kind: str) -> Any:
    """The class of a type name."""
    if kind not in COMPONENTS:
        near = get_close_matches(kind, COMPONENTS, n=3)
        hint = f" Nearest: {', '.join(near)}." if near else ""
        raise BuildError(f"there is no component of type '{kind}' yet.{hint}", kind)
    return resolve_name("zoo.models." + COMPONENTS[kind])


def parameters(cls: Any) -> set[str]:
    """Names that a constructor takes; where it passes `**kwargs` on, also those of its base class."""
    return {p.name for p in signature(cls) if p.kind is not p.VAR_KEYWORD}


def required(cls: Any) -> set[str]:
    """Names that a constructor itself cannot do without (a base class's may be filled in by it)."""
    own = list(inspect.signature(cls.__init__).parameters.values())[1:]
    return {p.name for p in own if p.default is p.empty and p.kind is not p.VAR_KEYWORD}


def signature(cls: Any) -> list[inspect.Parameter]:
    """A constructor's parameters, and those of the base class that it passes `**kwargs` on to."""
    own = list(inspect.signature(cls.__init__).parameters.values())[1:]
    if any(p.kind is p.VAR_KEYWORD for p in own):
        seen = {p.name for p in own}
        own += [p for p in signature(cls.__mro__[1]) if p.name not in seen]
    return own


def build_detector(description: Mapping[str, Any]) -> Any:
    """A whole detector, freshly initialised, in eval mode. Raises BuildError."""
    return component(description).eval()
