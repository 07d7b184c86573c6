"""What follows from a model's family and file name."""

from __future__ import annotations

import pytest

from zoo.manifest import derive

RETINANET = derive.Publisher("mmdetection", "retinanet")
DETECTRON2 = derive.Publisher("detectron2", "detectron2")


def test_a_file_name_says_folder_and_hash():
    assert derive.checkpoint("retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth", RETINANET) == {
        "path": "v2.0/retinanet/retinanet_r50_fpn_1x_coco/retinanet_r50_fpn_1x_coco_20200130-c2398f9e.pth",
        "sha256": "c2398f9e",
    }


@pytest.mark.parametrize(
    ("file", "folder"),
    [
        (
            "mask_rcnn_r50_fpn_2x_coco_bbox_mAP-0.392__segm_mAP-0.354_20200505_003907-3e542a40.pth",
            "mask_rcnn_r50_fpn_2x_coco",
        ),
        ("vfnet_r101_fpn_1x_coco_20201027pth-c831ece7.pth", "vfnet_r101_fpn_1x_coco"),
        ("fcos_r50-62a3f276.pth", "fcos_r50"),
        ("without_a_hash.pth", "without_a_hash"),
    ],
)
def test_files_lie_in_folders_of_their_own(file, folder):
    assert derive.checkpoint(file, RETINANET)["path"] == f"v2.0/retinanet/{folder}/{file}"


def test_a_family_is_quoted_in_addresses():
    path = derive.checkpoint("a-00000000.pth", derive.Publisher("mmdetection", "gn+ws"))["path"]
    assert path == "v2.0/gn%2Bws/a/a-00000000.pth"


def test_a_folder_may_be_stated():
    fields = derive.checkpoint("a-00000000.pth", derive.Publisher("mmdetection", "rtmdet", "v3.0/rtmdet"))
    assert fields == {"path": "v3.0/rtmdet/a/a-00000000.pth", "sha256": "00000000", "format": "mmdet-v3"}


def test_a_path_stays_as_it_is_and_a_mapping_too():
    assert derive.checkpoint("v2.0/x/a.pth", RETINANET) == {"path": "v2.0/x/a.pth"}
    assert derive.checkpoint({"path": "v2.0/x/a-00000000.pth"}, RETINANET) == {"path": "v2.0/x/a-00000000.pth"}


def test_the_time_of_a_file_names_its_log():
    assert derive.log("a", "v2.0/x/a/a_20200505_003907-3e542a40.pth", RETINANET) == "a_20200505_003907.log.json"
    assert derive.log("a", "v2.0/x/a/a_20200505-3e542a40.pth", RETINANET) is None  # a day alone does not
    assert derive.log({"path": "a"}, "v2.0/x/a/a_20200505_003907-3e542a40.pth", RETINANET) is None


def test_detectron2s_addresses_say_hash_log_and_configuration():
    url = "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/rpn_R_50_C4_1x/137258005/model_final_450694.pkl"
    assert derive.checkpoint(url, DETECTRON2) == {"path": url, "md5": "450694", "format": "detectron2"}
    assert derive.log(url, url, DETECTRON2) == "metrics.json"
    assert derive.config("any", url, DETECTRON2) == "configs/COCO-Detection/rpn_R_50_C4_1x.yaml"


def test_what_a_backbone_states_wins():
    derived = derive.backbone("mmcls://a", {"url": "https://x.example/a-0123abcd.pth"})
    assert derived["sha256"] == "0123abcd" and derived["source"] == "mmcv v1.7.2 mmcls.json"
    stated = derive.backbone("mmcls://a", {"url": "https://x.example/a-0123abcd.pth", "sha256": "ffffffff"})
    assert stated["sha256"] == "ffffffff"


@pytest.mark.parametrize(
    ("name", "alias"),
    [
        ("retinanet_r50_fpn_1x_coco", "retinanet_r50"),
        ("yolox_s_8x8_300e_coco", "yolox_s_300e"),
        ("mask_rcnn_hrnetv2p_w18_2x_coco", "mask_rcnn_hrnet_w18_2x"),
        ("mask_rcnn_x101_32x4d_fpn_dconv_c3-c5_1x_coco", "mask_rcnn_x101_32x4d_dconv"),
        ("faster_rcnn_r50_fpn_1x_coco-person", "faster_rcnn_r50_coco-person"),
    ],
)
def test_short_names_leave_out_what_most_names_have(name, alias):
    assert derive.aliases(name, f"{name}_20200130-c2398f9e.pth", RETINANET) == (alias,)


def test_only_published_2x_names_have_short_ones():
    assert derive.aliases("a_1x_coco", "v3.0/x/a-00000000.pth", RETINANET) == ()
    assert derive.aliases("a_1x_coco", "a-00000000.pth", derive.Publisher("user", "x")) == ()
    url = "https://dl.fbaipublicfiles.com/detectron2/COCO-Detection/rpn_R_50_C4_1x/137258005/model_final_450694.pkl"
    assert derive.aliases("detectron2/rpn_R_50_C4_1x", url, DETECTRON2) == ("COCO-Detection/rpn_R_50_C4_1x",)


def test_another_schedule_is_the_same_network_unless_it_has_its_own():
    known = {"a_1x_coco", "b_2x_coco", "b_1x_coco", "detectron2/c"}
    assert derive.architecture("a_2x_coco", known) == "a_1x_coco"
    assert derive.architecture("a_mstrain_640-800_3x_coco", known) == "a_1x_coco"
    assert derive.architecture("b_2x_coco", known) == "b_2x_coco"
    assert derive.architecture("detectron2/c_3x", known) == "detectron2/c"
    assert derive.architecture("d_2x_coco", known) == "d_2x_coco"


def test_names_say_schedules():
    assert derive.schedule("a_2x_coco") == {"schedule": "2x", "epochs": 24}
    assert derive.schedule("a_8x2_50e_coco") == {"schedule": "50e", "epochs": 50}
    assert derive.schedule("a_r50_32x4d") == {}


def test_the_time_of_a_training_names_its_log():
    path = "v2.0/x/a/a_20200505-3e542a40.pth"
    assert derive.log("a", path, RETINANET, "20200505_003907") == "a_20200505_003907.log.json"


def test_a_row_of_published_numbers_is_of_the_validation_images():
    row = {"box_ap": 36.5, "fps": 19.0}
    assert derive.published(row, "coco_2017_panoptic") == {
        "metrics": {"coco_2017_val": {"box_ap": 36.5}},
        "speed": [{"fps": 19.0}],
    }
    assert derive.published({"fps": 1.0}, "lvis_v1") == {"speed": [{"fps": 1.0}]}


def test_a_backbones_address_may_be_a_path():
    fields = derive.backbone("mmcls://vgg11", {"url": "vgg/vgg11-4271cd6c.pth"})
    assert fields["url"] == "https://download.openmmlab.com/mmclassification/v0/vgg/vgg11-4271cd6c.pth"
    assert fields["sha256"] == "4271cd6c"
