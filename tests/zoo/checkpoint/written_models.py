"""Models as users' configurations describe them once fine-tuned on three classes, defaults and training included."""

from __future__ import annotations

SMOOTH = {"type": "L1Loss", "loss_weight": 1.0}
SIGMOID = {"type": "CrossEntropyLoss", "use_sigmoid": True, "loss_weight": 1.0}
SOFTMAX = {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0}
FOCAL = {"type": "FocalLoss", "use_sigmoid": True, "gamma": 2.0, "alpha": 0.25, "loss_weight": 1.0}
DENSE_TEST = {
    "nms_pre": 1000,
    "min_bbox_size": 0,
    "score_thr": 0.05,
    "nms": {"type": "nms", "iou_threshold": 0.5},
    "max_per_img": 100,
}
ASSIGNER = {"type": "MaxIoUAssigner", "pos_iou_thr": 0.5, "neg_iou_thr": 0.5, "min_pos_iou": 0.5, "ignore_iof_thr": -1}
SAMPLER = {"type": "RandomSampler", "num": 512, "pos_fraction": 0.25, "neg_pos_ub": -1, "add_gt_as_proposals": True}
TRAIN = {"assigner": ASSIGNER, "sampler": SAMPLER, "pos_weight": -1, "debug": False}
FPN = {"type": "FPN", "in_channels": [256, 512, 1024, 2048], "out_channels": 256, "num_outs": 5}


def resnet(style="pytorch", requires_grad=True, out_indices=(0, 1, 2, 3)):
    return {
        "type": "ResNet",
        "depth": 50,
        "num_stages": 4,
        "out_indices": out_indices,
        "frozen_stages": 1,
        "norm_cfg": {"type": "BN", "requires_grad": requires_grad},
        "norm_eval": True,
        "style": style,
        "init_cfg": {"type": "Pretrained", "checkpoint": "torchvision://resnet50"},
    }


def coder(*stds):
    return {"type": "DeltaXYWHBBoxCoder", "target_means": [0.0, 0.0, 0.0, 0.0], "target_stds": list(stds)}


def box_head(stds=(0.1, 0.1, 0.2, 0.2), reg_class_agnostic=False):
    return {
        "type": "Shared2FCBBoxHead",
        "in_channels": 256,
        "fc_out_channels": 1024,
        "roi_feat_size": 7,
        "num_classes": 3,
        "bbox_coder": coder(*stds),
        "reg_class_agnostic": reg_class_agnostic,
        "loss_cls": SOFTMAX,
        "loss_bbox": SMOOTH,
    }


def extractor(size):
    return {
        "type": "SingleRoIExtractor",
        "roi_layer": {"type": "RoIAlign", "output_size": size, "sampling_ratio": 0},
        "out_channels": 256,
        "featmap_strides": [4, 8, 16, 32],
    }


def two_stage(kind, roi_head, **rcnn):
    anchors = {"type": "AnchorGenerator", "scales": [8], "ratios": [0.5, 1.0, 2.0], "strides": [4, 8, 16, 32, 64]}
    proposals = {"nms_pre": 1000, "max_per_img": 1000, "nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0}
    final = {"score_thr": 0.05, "nms": {"type": "nms", "iou_threshold": 0.5}, "max_per_img": 100, **rcnn}
    return {
        "type": kind,
        "backbone": resnet(),
        "neck": FPN,
        "rpn_head": {
            "type": "RPNHead",
            "in_channels": 256,
            "feat_channels": 256,
            "anchor_generator": anchors,
            "bbox_coder": coder(1.0, 1.0, 1.0, 1.0),
            "loss_cls": SIGMOID,
            "loss_bbox": SMOOTH,
        },
        "roi_head": {"bbox_roi_extractor": extractor(7), **roi_head},
        "train_cfg": {"rpn": TRAIN, "rpn_proposal": proposals, "rcnn": TRAIN},
        "test_cfg": {"rpn": proposals, "rcnn": final},
    }


FASTER_RCNN = two_stage("FasterRCNN", {"type": "StandardRoIHead", "bbox_head": box_head()})
MASK_RCNN = two_stage(
    "MaskRCNN",
    {
        "type": "StandardRoIHead",
        "bbox_head": box_head(),
        "mask_roi_extractor": extractor(14),
        "mask_head": {
            "type": "FCNMaskHead",
            "num_convs": 4,
            "in_channels": 256,
            "conv_out_channels": 256,
            "num_classes": 3,
            "loss_mask": {"type": "CrossEntropyLoss", "use_mask": True, "loss_weight": 1.0},
        },
    },
    mask_thr_binary=0.5,
)
STAGES = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))
CASCADE_RCNN = two_stage(
    "CascadeRCNN",
    {
        "type": "CascadeRoIHead",
        "num_stages": 3,
        "stage_loss_weights": [1, 0.5, 0.25],
        "bbox_head": [box_head(stds, True) for stds in STAGES],
    },
)
RETINANET = {
    "type": "RetinaNet",
    "backbone": resnet(),
    "neck": {**FPN, "start_level": 1, "add_extra_convs": "on_input"},
    "bbox_head": {
        "type": "RetinaHead",
        "num_classes": 3,
        "in_channels": 256,
        "stacked_convs": 4,
        "feat_channels": 256,
        "anchor_generator": {
            "type": "AnchorGenerator",
            "octave_base_scale": 4,
            "scales_per_octave": 3,
            "ratios": [0.5, 1.0, 2.0],
            "strides": [8, 16, 32, 64, 128],
        },
        "bbox_coder": coder(1.0, 1.0, 1.0, 1.0),
        "loss_cls": FOCAL,
        "loss_bbox": SMOOTH,
    },
    "train_cfg": {**TRAIN, "allowed_border": -1},
    "test_cfg": DENSE_TEST,
}
FCOS = {
    "type": "FCOS",
    "backbone": resnet("caffe", requires_grad=False),
    "neck": {**FPN, "start_level": 1, "add_extra_convs": "on_output", "relu_before_extra_convs": True},
    "bbox_head": {
        "type": "FCOSHead",
        "num_classes": 3,
        "in_channels": 256,
        "stacked_convs": 4,
        "feat_channels": 256,
        "strides": [8, 16, 32, 64, 128],
        "loss_cls": FOCAL,
        "loss_bbox": {"type": "IoULoss", "loss_weight": 1.0},
        "loss_centerness": SIGMOID,
    },
    "train_cfg": TRAIN,
    "test_cfg": DENSE_TEST,
}
SWISH = {"norm_cfg": {"type": "BN", "momentum": 0.03, "eps": 0.001}, "act_cfg": {"type": "Swish"}}
YOLOX = {
    "type": "YOLOX",
    "backbone": {
        "type": "CSPDarknet",
        "deepen_factor": 0.33,
        "widen_factor": 0.5,
        "out_indices": (2, 3, 4),
        "use_depthwise": False,
        "spp_kernal_sizes": (5, 9, 13),
        **SWISH,
    },
    "neck": {
        "type": "YOLOXPAFPN",
        "in_channels": [128, 256, 512],
        "out_channels": 128,
        "num_csp_blocks": 1,
        "use_depthwise": False,
        "upsample_cfg": {"scale_factor": 2, "mode": "nearest"},
        **SWISH,
    },
    "bbox_head": {
        "type": "YOLOXHead",
        "num_classes": 3,
        "in_channels": 128,
        "feat_channels": 128,
        "stacked_convs": 2,
        "strides": (8, 16, 32),
        "use_depthwise": False,
        **SWISH,
        "loss_cls": {"type": "CrossEntropyLoss", "use_sigmoid": True, "reduction": "sum", "loss_weight": 1.0},
        "loss_bbox": {"type": "IoULoss", "mode": "square", "eps": 1e-16, "reduction": "sum", "loss_weight": 5.0},
        "loss_obj": {"type": "CrossEntropyLoss", "use_sigmoid": True, "reduction": "sum", "loss_weight": 1.0},
        "loss_l1": {"type": "L1Loss", "reduction": "sum", "loss_weight": 1.0},
    },
    "train_cfg": {"assigner": {"type": "SimOTAAssigner", "center_radius": 2.5}},
    "test_cfg": {"score_thr": 0.01, "nms": {"type": "nms", "iou_threshold": 0.65}},
}
RTMDET = {
    "type": "RTMDet",
    "backbone": {
        "type": "CSPNeXt",
        "arch": "P5",
        "deepen_factor": 0.33,
        "widen_factor": 0.5,
        "channel_attention": True,
        "norm_cfg": {"type": "SyncBN"},
        "act_cfg": {"type": "SiLU", "inplace": True},
    },
    "neck": {"type": "CSPNeXtPAFPN", "in_channels": [128, 256, 512], "out_channels": 128, "num_csp_blocks": 1},
    "bbox_head": {
        "type": "RTMDetSepBNHead",
        "num_classes": 3,
        "in_channels": 128,
        "anchor_generator": {"type": "MlvlPointGenerator", "offset": 0, "strides": [8, 16, 32]},
        "bbox_coder": {"type": "DistancePointBBoxCoder"},
        "loss_cls": {"type": "QualityFocalLoss", "use_sigmoid": True, "beta": 2.0, "loss_weight": 1.0},
    },
    "train_cfg": {"assigner": {"type": "DynamicSoftLabelAssigner", "topk": 13}},
    "test_cfg": DENSE_TEST,
}
ATTENTION = {"embed_dims": 256, "num_levels": 4, "dropout": 0.0}
DINO = {
    "type": "DINO",
    "num_queries": 900,
    "with_box_refine": True,
    "as_two_stage": True,
    "backbone": resnet(out_indices=(1, 2, 3)),
    "neck": {"type": "ChannelMapper", "in_channels": [512, 1024, 2048], "out_channels": 256, "num_outs": 4},
    "encoder": {"num_layers": 6, "layer_cfg": {"self_attn_cfg": ATTENTION}},
    "decoder": {"num_layers": 6, "layer_cfg": {"self_attn_cfg": ATTENTION, "cross_attn_cfg": ATTENTION}},
    "positional_encoding": {"num_feats": 128, "normalize": True, "offset": 0.0, "temperature": 20},
    "bbox_head": {"type": "DINOHead", "num_classes": 3, "sync_cls_avg_factor": True, "loss_cls": FOCAL},
    "dn_cfg": {"label_noise_scale": 0.5, "group_cfg": {"dynamic": True, "num_dn_queries": 100}},
    "test_cfg": {"max_per_img": 300},
}
