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
from zoo.models.argument_types import check_arguments
from zoo.models.build_budget import current
from zoo.models.layers.deterministic_conv import hold_steady

# Type name in a description -> "module:class" below zoo.models; imported when first built.
COMPONENTS: dict[str, str] = {
    # detectors
    "ATSS": "detectors.single_stage:SingleStageDetector",
    "AutoAssign": "detectors.single_stage:SingleStageDetector",
    "BoxInst": "detectors.condinst:CondInst",
    "CascadeRCNN": "detectors.two_stage:TwoStageDetector",
    "CenterNet": "detectors.keypoint:KeypointDetector",
    "CoDETR": "detectors.co_detr:CoDETR",
    "ConditionalDETR": "detectors.detection_transformer:ConditionalDETR",
    "CondInst": "detectors.condinst:CondInst",
    "CornerNet": "detectors.keypoint:CornerNet",
    "DABDETR": "detectors.detection_transformer:DABDETR",
    "DDQDETR": "detectors.ddq_detr:DDQDETR",
    "DINO": "detectors.deformable_detr:DINO",
    "CrowdDet": "detectors.two_stage:TwoStageDetector",
    "DDOD": "detectors.single_stage:SingleStageDetector",
    "DETR": "detectors.detr:DETR",
    "DeformableDETR": "detectors.detr:DETR",
    "v3.DETR": "detectors.detection_transformer:DETR",
    "v3.DeformableDETR": "detectors.deformable_detr:DeformableDETR",
    "DiffusionDet": "detectors.diffusiondet:DiffusionDet",
    "EfficientDet": "detectors.efficientdet:EfficientDet",
    "FCOS": "detectors.single_stage:SingleStageDetector",
    "FOVEA": "detectors.single_stage:SingleStageDetector",
    "FSAF": "detectors.single_stage:SingleStageDetector",
    "FastRCNN": "detectors.two_stage:FastRCNN",
    "FasterRCNN": "detectors.two_stage:TwoStageDetector",
    "GFL": "detectors.single_stage:SingleStageDetector",
    "GridRCNN": "detectors.two_stage:TwoStageDetector",
    "HybridTaskCascade": "detectors.two_stage:TwoStageDetector",
    "KnowledgeDistillationSingleStageDetector": "detectors.distilled:Distilled",
    "KeypointRCNN": "detectors.two_stage:TwoStageDetector",
    "LAD": "detectors.distilled:Distilled",
    "Mask2Former": "detectors.maskformer:MaskFormer",
    "MaskFormer": "detectors.maskformer:MaskFormer",
    "MaskRCNN": "detectors.two_stage:TwoStageDetector",
    "MaskScoringRCNN": "detectors.two_stage:TwoStageDetector",
    "NASFCOS": "detectors.single_stage:SingleStageDetector",
    "PAA": "detectors.single_stage:SingleStageDetector",
    "PanopticFPN": "detectors.panoptic_fpn:PanopticFPN",
    "PointRend": "detectors.two_stage:TwoStageDetector",
    "QueryInst": "detectors.sparse_rcnn:SparseRCNN",
    "RTMDet": "detectors.single_stage:SingleStageDetector",
    "RPN": "detectors.two_stage:RPN",
    "RepPointsDetector": "detectors.single_stage:SingleStageDetector",
    "RetinaNet": "detectors.single_stage:SingleStageDetector",
    "SCNet": "detectors.two_stage:TwoStageDetector",
    "SOLO": "detectors.solo:SOLO",
    "SOLOv2": "detectors.solo:SOLO",
    "SingleStageDetector": "detectors.single_stage:SingleStageDetector",
    "SoftTeacher": "detectors.soft_teacher:SoftTeacher",
    "SparseInst": "detectors.sparseinst:SparseInst",
    "SparseRCNN": "detectors.sparse_rcnn:SparseRCNN",
    "TOOD": "detectors.single_stage:SingleStageDetector",
    "TridentFasterRCNN": "detectors.trident:TridentFasterRCNN",
    "VFNet": "detectors.single_stage:SingleStageDetector",
    "YOLACT": "detectors.yolact:YOLACT",
    "YOLOF": "detectors.single_stage:SingleStageDetector",
    "YOLOV3": "detectors.single_stage:SingleStageDetector",
    "YOLOX": "detectors.single_stage:YOLOX",
    # backbones
    "CSPNeXt": "backbones.cspnext:CSPNeXt",
    "CSPDarknet": "backbones.csp_darknet:CSPDarknet",
    "Darknet": "backbones.darknet:Darknet",
    "DetectoRS_ResNeXt": "backbones.detectors_resnet:DetectoRSResNet",
    "DetectoRS_ResNet": "backbones.detectors_resnet:DetectoRSResNet",
    "EfficientNet": "backbones.efficientnet:EfficientNet",
    "HRNet": "backbones.hrnet:HRNet",
    "HourglassNet": "backbones.hourglass:HourglassNet",
    "MobileNetV2": "backbones.mobilenet_v2:MobileNetV2",
    "MobileNetV3": "backbones.mobilenet_v3:MobileNetV3",
    "PyramidVisionTransformer": "backbones.pvt:PyramidVisionTransformer",
    "PyramidVisionTransformerV2": "backbones.pvt:PyramidVisionTransformerV2",
    "RegNet": "backbones.regnet:RegNet",
    "Res2Net": "backbones.res2net:Res2Net",
    "ResNeSt": "backbones.resnest:ResNeSt",
    "ResNeXt": "backbones.resnet:ResNet",
    "ResNet": "backbones.resnet:ResNet",
    "ResNetV1d": "backbones.resnet:ResNetV1d",
    "SSDVGG": "backbones.ssd_vgg:SSDVGG",
    "SwinTransformer": "backbones.swin:SwinTransformer",
    "TridentResNet": "backbones.trident_resnet:TridentResNet",
    "ViT": "backbones.vit:ViT",
    "mmcls.ConvNeXt": "backbones.convnext:ConvNeXt",
    "mmpretrain.ConvNeXt": "backbones.convnext:PretrainConvNeXt",
    # necks
    "BFP": "necks.bfp:BFP",
    "CSPNeXtPAFPN": "necks.yolox_pafpn:CSPNeXtPAFPN",
    "BiFPN": "necks.bifpn:BiFPN",
    "CTResNetNeck": "necks.ct_resnet_neck:CTResNetNeck",
    "ChannelMapper": "necks.channel_mapper:ChannelMapper",
    "DilatedEncoder": "necks.dilated_encoder:DilatedEncoder",
    "DyHead": "necks.dyhead:DyHead",
    "FPG": "necks.fpg:FPG",
    "FPN": "necks.fpn:FPN",
    "FPN_CARAFE": "necks.fpn_carafe:FPN_CARAFE",
    "HRFPN": "necks.hrfpn:HRFPN",
    "NASFCOS_FPN": "necks.nasfcos_fpn:NASFCOS_FPN",
    "NASFPN": "necks.nas_fpn:NASFPN",
    "PAFPN": "necks.pafpn:PAFPN",
    "RFP": "necks.rfp:RFP",
    "SSDNeck": "necks.ssd_neck:SSDNeck",
    "SimpleFPN": "necks.simple_fpn:SimpleFPN",
    "YOLOV3Neck": "necks.yolo_neck:YOLOV3Neck",
    "YOLOXPAFPN": "necks.yolox_pafpn:YOLOXPAFPN",
    # dense heads
    "ATSSHead": "dense_heads.atss:ATSSHead",
    "AlignDETRHead": "query_heads.branches:AlignDETRHead",
    # Trained on NPUs with targets of fixed size; the network is the same.
    "AscendRetinaHead": "dense_heads.retina:RetinaHead",
    "AscendSSDHead": "dense_heads.ssd:SSDHead",
    "AutoAssignHead": "dense_heads.autoassign:AutoAssignHead",
    "BoxInstBboxHead": "dense_heads.condinst:BoxInstBboxHead",
    "BoxInstMaskHead": "dense_heads.condinst:BoxInstMaskHead",
    "CascadeRPNHead": "dense_heads.cascade_rpn:CascadeRPNHead",
    "CenterNetHead": "dense_heads.centernet:CenterNetHead",
    "CenterNetUpdateHead": "dense_heads.centernet_update:CenterNetUpdateHead",
    "CentripetalHead": "dense_heads.centripetal:CentripetalHead",
    "CoATSSHead": "dense_heads.atss:CoATSSHead",
    "CoDINOHead": "query_heads.co_dino_head:CoDINOHead",
    "ConditionalDETRHead": "query_heads.branches:ConditionalDETRHead",
    "CondInstBboxHead": "dense_heads.condinst:CondInstBboxHead",
    "CondInstMaskHead": "dense_heads.condinst:CondInstMaskHead",
    "CornerHead": "dense_heads.corner:CornerHead",
    "DABDETRHead": "query_heads.branches:DABDETRHead",
    "DDQDETRHead": "query_heads.branches:DDQDETRHead",
    "DDODHead": "dense_heads.ddod:DDODHead",
    "DETRHead": "query_heads.detr_head:DETRHead",
    "DINOHead": "query_heads.branches:DINOHead",
    "v3.DETRHead": "query_heads.branches:DETRBranches",
    "v3.DeformableDETRHead": "query_heads.branches:DeformableDETRBranches",
    "DeformableDETRHead": "query_heads.deformable_detr_head:DeformableDETRHead",
    "DiffusionDetCriterion": "query_heads.diffusiondet_head:DiffusionDetCriterion",
    "DynamicDiffusionDetHead": "query_heads.diffusiondet_head:DynamicDiffusionDetHead",
    "SingleDiffusionDetHead": "query_heads.diffusiondet_head:SingleDiffusionDetHead",
    "EfficientDetSepBNHead": "dense_heads.efficientdet:EfficientDetSepBNHead",
    "EmbeddingRPNHead": "query_heads.embedding_rpn:EmbeddingRPNHead",
    "FCOSHead": "dense_heads.fcos:FCOSHead",
    "FSAFHead": "dense_heads.fsaf:FSAFHead",
    "FoveaHead": "dense_heads.fovea:FoveaHead",
    "FreeAnchorRetinaHead": "dense_heads.retina:FreeAnchorRetinaHead",
    "GARPNHead": "dense_heads.guided_anchor:GARPNHead",
    "GARetinaHead": "dense_heads.guided_anchor:GARetinaHead",
    "GFLHead": "dense_heads.gfl:GFLHead",
    "LADHead": "dense_heads.paa:LADHead",
    "LDHead": "dense_heads.gfl:LDHead",
    "NASFCOSHead": "dense_heads.fcos:NASFCOSHead",
    "PAAHead": "dense_heads.paa:PAAHead",
    "PISARetinaHead": "dense_heads.retina:PISARetinaHead",
    "PISASSDHead": "dense_heads.ssd:PISASSDHead",
    "RPNHead": "dense_heads.rpn:RPNHead",
    "RTMDetInsSepBNHead": "dense_heads.rtmdet_ins:RTMDetInsSepBNHead",
    "RTMDetSepBNHead": "dense_heads.rtmdet:RTMDetSepBNHead",
    "RepPointsHead": "dense_heads.reppoints:RepPointsHead",
    "RetinaHead": "dense_heads.retina:RetinaHead",
    "RetinaSepBNHead": "dense_heads.retina_sepbn:RetinaSepBNHead",
    "SABLRetinaHead": "dense_heads.sabl_retina:SABLRetinaHead",
    "SSDHead": "dense_heads.ssd:SSDHead",
    "StageCascadeRPNHead": "dense_heads.cascade_rpn:StageCascadeRPNHead",
    "TOODHead": "dense_heads.tood:TOODHead",
    "VFNetHead": "dense_heads.vfnet:VFNetHead",
    "YOLACTHead": "dense_heads.yolact:YOLACTHead",
    "YOLACTProtonet": "dense_heads.yolact_masks:YOLACTProtonet",
    "YOLACTSegmHead": "dense_heads.yolact_masks:YOLACTSegmHead",
    "YOLOFHead": "dense_heads.yolof:YOLOFHead",
    "YOLOV3Head": "dense_heads.yolov3:YOLOV3Head",
    "YOLOXHead": "dense_heads.yolox:YOLOXHead",
    # heads on regions of interest
    "BBoxHead": "roi_heads.bbox_head:BBoxHead",
    "CascadeRoIHead": "roi_heads.cascade:CascadeRoIHead",
    "CoStandardRoIHead": "roi_heads.standard:CoStandardRoIHead",
    "CoarseMaskHead": "roi_heads.point_rend:CoarseMaskHead",
    "ConvFCBBoxHead": "roi_heads.convfc_bbox_head:ConvFCBBoxHead",
    "DIIHead": "query_heads.dii_head:DIIHead",
    "DoubleConvFCBBoxHead": "roi_heads.double_head:DoubleConvFCBBoxHead",
    "DoubleHeadRoIHead": "roi_heads.double_head:DoubleHeadRoIHead",
    "DynamicMaskHead": "query_heads.dynamic_mask_head:DynamicMaskHead",
    "DynamicRoIHead": "roi_heads.standard:DynamicRoIHead",
    "FCNMaskHead": "roi_heads.fcn_mask_head:FCNMaskHead",
    "FeatureRelayHead": "roi_heads.scnet:FeatureRelayHead",
    "FusedSemanticHead": "roi_heads.semantic_head:FusedSemanticHead",
    "GenericRoIExtractor": "roi_heads.extractor:GenericRoIExtractor",
    "GlobalContextHead": "roi_heads.scnet:GlobalContextHead",
    "GridHead": "roi_heads.grid:GridHead",
    "GridRoIHead": "roi_heads.grid:GridRoIHead",
    "HTCMaskHead": "roi_heads.fcn_mask_head:HTCMaskHead",
    "HybridTaskCascadeRoIHead": "roi_heads.htc:HybridTaskCascadeRoIHead",
    "KeypointRCNNHead": "roi_heads.keypoint_head:KeypointRCNNHead",
    "MaskIoUHead": "roi_heads.mask_scoring:MaskIoUHead",
    "MaskPointHead": "roi_heads.point_rend:MaskPointHead",
    "MaskScoringRoIHead": "roi_heads.mask_scoring:MaskScoringRoIHead",
    "MultiInstanceBBoxHead": "roi_heads.multi_instance:MultiInstanceBBoxHead",
    "MultiInstanceRoIHead": "roi_heads.multi_instance:MultiInstanceRoIHead",
    "PISARoIHead": "roi_heads.standard:PISARoIHead",
    "PointRendRoIHead": "roi_heads.point_rend:PointRendRoIHead",
    "ResLayer": "roi_heads.res_layer:SharedResLayer",
    "SABLHead": "roi_heads.sabl_head:SABLHead",
    "SCNetBBoxHead": "roi_heads.convfc_bbox_head:ConvFCBBoxHead",
    "SCNetMaskHead": "roi_heads.fcn_mask_head:SCNetMaskHead",
    "SCNetRoIHead": "roi_heads.scnet:SCNetRoIHead",
    "SCNetSemanticHead": "roi_heads.semantic_head:SCNetSemanticHead",
    "Shared2FCBBoxHead": "roi_heads.convfc_bbox_head:Shared2FCBBoxHead",
    "Shared4Conv1FCBBoxHead": "roi_heads.convfc_bbox_head:Shared4Conv1FCBBoxHead",
    "SingleRoIExtractor": "roi_heads.extractor:SingleRoIExtractor",
    "SparseRoIHead": "query_heads.sparse_roi_head:SparseRoIHead",
    "StandardRoIHead": "roi_heads.standard:StandardRoIHead",
    "TridentRoIHead": "roi_heads.trident:TridentRoIHead",
    # transformers
    "BaseTransformerLayer": "transformer.layers:TransformerLayer",
    "CoDinoTransformer": "query_heads.co_dino_head:CoDinoTransformer",
    "DinoTransformerDecoder": "transformer.dino:CoDinoDecoder",
    "DeformableDetrTransformer": "transformer.deformable_transformer:DeformableDetrTransformer",
    "DeformableDetrTransformerDecoder": "transformer.deformable_transformer:DeformableDetrTransformerDecoder",
    "DetrTransformerDecoder": "transformer.layers:DetrTransformerDecoder",
    "DetrTransformerDecoderLayer": "transformer.layers:TransformerLayer",
    "DetrTransformerEncoder": "transformer.layers:DetrTransformerEncoder",
    "DynamicConv": "query_heads.dynamic_conv:DynamicConv",
    "FFN": "transformer.feedforward:FFN",
    "MultiScaleDeformableAttention": "transformer.deformable_attention:MultiScaleDeformableAttention",
    "MultiheadAttention": "transformer.attention:MultiheadAttention",
    "SinePositionalEncoding": "transformer.position_encoding:SinePositionalEncoding",
    "Transformer": "transformer.detr_transformer:Transformer",
    # segmentation
    "BaseIAMDecoder": "segmentation.sparseinst:BaseIAMDecoder",
    "DecoupledSOLOHead": "segmentation.decoupled_solo_head:DecoupledSOLOHead",
    "DecoupledSOLOLightHead": "segmentation.decoupled_solo_head:DecoupledSOLOLightHead",
    "InstanceContextEncoder": "segmentation.sparseinst:InstanceContextEncoder",
    "HeuristicFusionHead": "segmentation.heuristic_fusion:HeuristicFusionHead",
    "MSDeformAttnPixelDecoder": "segmentation.deformable_pixel_decoder:MSDeformAttnPixelDecoder",
    "Mask2FormerHead": "segmentation.mask2former_head:Mask2FormerHead",
    "MaskFormerFusionHead": "segmentation.maskformer_fusion:MaskFormerFusionHead",
    "MaskFormerHead": "segmentation.maskformer_head:MaskFormerHead",
    "PanopticFPNHead": "segmentation.panoptic_fpn_head:PanopticFPNHead",
    "PixelDecoder": "segmentation.pixel_decoder:PixelDecoder",
    "SOLOHead": "segmentation.solo_head:SOLOHead",
    "SOLOV2Head": "segmentation.solov2_head:SOLOV2Head",
    "TransformerEncoderPixelDecoder": "segmentation.pixel_decoder:TransformerEncoderPixelDecoder",
    # box coders and priors
    "AnchorGenerator": "priors.anchors:AnchorGenerator",
    "BucketingBBoxCoder": "coders.bucketing:BucketingBBoxCoder",
    "DeltaXYWHBBoxCoder": "coders.delta:DeltaXYWHCoder",
    "DistancePointBBoxCoder": "coders.distance:DistancePointCoder",
    "LegacyAnchorGenerator": "priors.anchors:LegacyAnchorGenerator",
    "LegacyDeltaXYWHBBoxCoder": "coders.legacy_delta:LegacyDeltaXYWHCoder",
    "LegacySSDAnchorGenerator": "priors.anchors:LegacySSDAnchorGenerator",
    "MlvlPointGenerator": "priors.points:PointGenerator",
    "SSDAnchorGenerator": "priors.anchors:SSDAnchorGenerator",
    "TBLRBBoxCoder": "coders.tblr:TBLRCoder",
    "WholePixelAnchorGenerator": "priors.whole_pixels:WholePixelAnchorGenerator",
    "WholePixelPointGenerator": "priors.whole_pixels:WholePixelPointGenerator",
    "YOLOAnchorGenerator": "priors.anchors:YOLOAnchorGenerator",
    "YOLOBBoxCoder": "coders.yolo:YOLOCoder",
    # training: assigners and samplers
    "ATSSAssigner": "assigners.atss:ATSSAssigner",
    "ApproxMaxIoUAssigner": "assigners.approx:ApproxMaxIoUAssigner",
    "CenterRegionAssigner": "assigners.center_region:CenterRegionAssigner",
    "DynamicSoftLabelAssigner": "assigners.dynamic_soft_label:DynamicSoftLabelAssigner",
    "DiffusionDetMatcher": "assigners.diffusiondet:DiffusionDetMatcher",
    "GridAssigner": "assigners.grid:GridAssigner",
    "HungarianAssigner": "assigners.hungarian:HungarianAssigner",
    "MixedHungarianAssigner": "assigners.hungarian:HungarianAssigner",
    "MaskHungarianAssigner": "assigners.hungarian:MaskHungarianAssigner",
    "MultiInsRandomSampler": "samplers.multi_instance:MultiInsRandomSampler",
    "MultiInstanceAssigner": "assigners.multi_instance:MultiInstanceAssigner",
    "MaxIoUAssigner": "assigners.max_iou:MaxIoUAssigner",
    "CombinedSampler": "samplers.balanced:CombinedSampler",
    "InstanceBalancedPosSampler": "samplers.balanced:InstanceBalancedPosSampler",
    "IoUBalancedNegSampler": "samplers.balanced:IoUBalancedNegSampler",
    "OHEMSampler": "samplers.ohem:OHEMSampler",
    "PointAssigner": "assigners.point:PointAssigner",
    "PseudoSampler": "samplers.random:PseudoSampler",
    "RandomSampler": "samplers.random:RandomSampler",
    "ScoreHLRSampler": "samplers.score_hlr:ScoreHLRSampler",
    "RegionAssigner": "assigners.region:RegionAssigner",
    "SimOTAAssigner": "assigners.sim_ota:SimOTAAssigner",
    "SparseInstMatcher": "assigners.sparseinst:SparseInstMatcher",
    "TaskAlignedAssigner": "assigners.task_aligned:TaskAlignedAssigner",
    "UniformAssigner": "assigners.uniform:UniformAssigner",
    # training: matching costs
    "BBoxL1Cost": "assigners.costs:BBoxL1Cost",
    "ClassificationCost": "assigners.costs:ClassificationCost",
    "CrossEntropyLossCost": "assigners.costs:CrossEntropyLossCost",
    "DiceCost": "assigners.costs:DiceCost",
    "FocalLossCost": "assigners.costs:FocalLossCost",
    "IoUCost": "assigners.costs:IoUCost",
    # training: losses
    "BalancedL1Loss": "losses.regression:BalancedL1Loss",
    "BoundedIoULoss": "losses.iou:BoundedIoULoss",
    "CIoULoss": "losses.iou:CIoULoss",
    "CrossEntropyLoss": "losses.cross_entropy:CrossEntropyLoss",
    "DIoULoss": "losses.iou:DIoULoss",
    "DiceLoss": "losses.dice:DiceLoss",
    "DistributionFocalLoss": "losses.focal:DistributionFocalLoss",
    "FocalLoss": "losses.focal:FocalLoss",
    "GaussianFocalLoss": "losses.heatmap:GaussianFocalLoss",
    "GHMC": "losses.harmonized:GHMC",
    "GHMR": "losses.harmonized:GHMR",
    "GIoULoss": "losses.iou:GIoULoss",
    "HuberLoss": "losses.regression:HuberLoss",
    "IoULoss": "losses.iou:IoULoss",
    "KnowledgeDistillationKLDivLoss": "losses.distillation:KnowledgeDistillationKLDivLoss",
    "L1Loss": "losses.regression:L1Loss",
    "MSELoss": "losses.regression:MSELoss",
    "QualityFocalLoss": "losses.focal:QualityFocalLoss",
    "SeesawLoss": "losses.seesaw:SeesawLoss",
    "SparseInstCriterion": "criteria.sparseinst:SparseInstCriterion",
    "SmoothL1Loss": "losses.regression:SmoothL1Loss",
    "VarifocalLoss": "losses.heatmap:VarifocalLoss",
}

# Types that 3.x describes by other arguments than 2.x: an argument that only one of them has, and whether that is 3.x.
REARRANGED = {
    "DETR": ("encoder", True),
    "DeformableDETR": ("encoder", True),
    "DETRHead": ("transformer", False),
    "DeformableDETRHead": ("transformer", False),
}

# Settings that only training, initialization or MMEngine needs: dropped for a component that does not take them.
TRAINING_ONLY = (
    "loss",
    "train_cfg",
    "init_cfg",
    "pretrained",
    "convert_weights",
    "teacher",
    "with_cp",
    "data_preprocessor",
    "_scope_",
    "use_syncbn",
    "num_cp",
)


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
    return construct(cls, kind, settings)


def construct(cls: Any, kind: str, settings: Mapping[str, Any]) -> Any:
    """`cls(**settings)`. Raises BuildError for values that the constructor does not take."""
    if budget := current():
        budget.take_component()
    check_arguments(cls, kind, settings)
    try:
        return cls(**settings)
    except (ArithmeticError, AssertionError, AttributeError, LookupError, MemoryError) as error:
        raise BuildError(f"{kind} cannot be built: {reason(error)}", kind) from error
    except (RecursionError, RuntimeError, TypeError, ValueError) as error:
        raise BuildError(f"{kind} cannot be built: {reason(error)}", kind) from error


def reason(error: Exception) -> str:
    """The first line of an error's own words, or its type where it has none."""
    return str(error).strip().partition("\n")[0] or type(error).__name__


def split(description: Any) -> tuple[str, dict[str, Any]]:
    """A description's type and its other settings."""
    if not isinstance(description, Mapping) or "type" not in description:
        raise BuildError(f"a component is described by a mapping with a 'type', not by {description!r:.200}")
    arguments = dict(description)
    return kind_of(description), {key: value for key, value in arguments.items() if key != "type"}


def kind_of(description: Mapping[str, Any]) -> str:
    """The type of a description as `COMPONENTS` names it: "v3." is in front of what 3.x arranges in another way."""
    kind: str = description["type"]
    if not isinstance(kind, str) or kind not in REARRANGED:
        return kind
    argument, newer = REARRANGED[kind]
    return f"v3.{kind}" if (argument in description) == newer else kind


def find(kind: str) -> Any:
    """The class of a type name."""
    if not isinstance(kind, str):
        raise BuildError(f"a component's type is a name, not {kind!r:.60}")
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
    own = own_parameters(cls)
    return {p.name for p in own if p.default is p.empty and p.kind is not p.VAR_KEYWORD}


def signature(cls: Any) -> list[inspect.Parameter]:
    """A constructor's parameters, and those of the base class that it passes `**kwargs` on to."""
    own = own_parameters(cls)
    if any(p.kind is p.VAR_KEYWORD for p in own):
        seen = {p.name for p in own}
        own += [p for p in signature(cls.__mro__[1]) if p.name not in seen]
    return own


def own_parameters(cls: Any) -> list[inspect.Parameter]:
    """The parameters of a class's own constructor; none where there is none."""
    if cls.__init__ is object.__init__:
        return []
    return list(inspect.signature(cls.__init__).parameters.values())[1:]


def build_detector(description: Mapping[str, Any]) -> Any:
    """A whole detector, freshly initialized, in eval mode. Raises BuildError."""
    return hold_steady(component(description)).eval()
