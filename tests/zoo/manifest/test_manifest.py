"""What the manifests say about the published models."""

from __future__ import annotations

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import zoo
from zoo.manifest import api

ROOT = Path(__file__).resolve().parents[3]
PUBLISHED = [name for name in api.list_models(origin="mmdetection")]


def test_all_562_published_checkpoints_of_version_2_are_there():
    assert len([name for name in PUBLISHED if api.get(name).checkpoint.format != "mmdet-v3"]) == 562


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_entry_is_complete(name):
    entry = api.get(name)
    assert entry.checkpoint is not None and entry.checkpoint.urls
    assert entry.architecture in api.architecture_names()
    assert api.dataset(entry.dataset).classes
    assert api.preprocessing(name).steps
    assert entry.tasks and entry.license


WITHOUT_HASH = {
    "mask_rcnn_r50_fpn_15e_deepfashion",
    "ddq-detr-4scale_swinl_8xb2-30e_coco",
    "ddq-detr-5scale_r50_8xb2-12e_coco",
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_hash_is_the_one_in_the_file_name(name):
    checkpoint = api.get(name).checkpoint
    if name in WITHOUT_HASH:
        assert checkpoint.sha256 is None
    else:
        assert f"{checkpoint.sha256}.pth" in checkpoint.filename


def class_counts(description):
    """Every `num_classes` of a description, but not a teacher's."""
    if isinstance(description, dict):
        for key, value in description.items():
            if key == "num_classes":
                yield from value if isinstance(value, list) else [value]
            elif key not in ("semantic_head", "train_cfg") and not key.startswith("teacher"):
                yield from class_counts(value)
    elif isinstance(description, list):
        for value in description:
            yield from class_counts(value)


@pytest.mark.parametrize("name", api.list_models(unpublished=True))
def test_a_network_tells_apart_as_many_classes_as_its_dataset_has(name):
    entry = api.get(name)
    if entry.architecture is None or entry.tasks == ("region proposal",):
        return
    counts = set(class_counts(api.architecture(name)))
    data = api.dataset(entry.dataset)
    assert not counts or counts & {len(data.classes), len(data.classes) + len(data.stuff_classes)}, counts


def test_training_starts_from_known_weights():
    keys = {api.get(name).training.backbone for name in PUBLISHED} - {None}
    assert keys <= set(api.catalog().backbones)
    starts = {api.get(name).training.start for name in PUBLISHED} - {None}
    assert all(start in PUBLISHED or "://" in start for start in starts)


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("faster_rcnn_r50", "faster_rcnn_r50_fpn_1x_coco"),
        ("mask_rcnn_r101", "mask_rcnn_r101_fpn_1x_coco"),
        ("retinanet_r50", "retinanet_r50_fpn_1x_coco"),
        ("yolox_s", "yolox_s_8x8_300e_coco"),
        ("detr_r50", "detr_r50_8x2_150e_coco"),
        ("ssd300", "ssd300_coco"),
        ("mask2former_r50_panoptic", "mask2former_r50_lsj_8x2_50e_coco-panoptic"),
    ],
)
def test_short_natural_names_work(alias, name):
    assert zoo.get(alias).name == name


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(zoo.UnknownModel, match=r"no model 'faster_rcnn_r51'\. Nearest: faster_rcnn_r50, "):
        zoo.get("faster_rcnn_r51")


def test_detectron2s_models_are_listed_when_asked_for():
    assert len(api.list_models("detectron2/*")) == 61  # files; the tables repeat three of them
    assert api.list_models(origin="detectron2") == api.list_models(family="detectron2")
    assert not any(name.startswith("detectron2/") for name in api.list_models())
    entry = api.get("COCO-Detection/faster_rcnn_R_50_FPN_1x")  # its name in Detectron2's own zoo
    assert entry.checkpoint.md5 == "b275ba" and entry.metric("box_ap") == 37.9 and entry.license == "CC-BY-SA-3.0"


# The traps of the published tables: metrics are corrected, and a note says so.


def test_vfnet_has_its_val2017_figure_and_not_that_of_test_dev():
    metrics = api.get("vfnet_r101_fpn_1x_coco").metrics
    assert metrics == {"coco_2017_val": {"box_ap": 43.0}, "coco_2017_test_dev": {"box_ap": 43.6}}


@pytest.mark.parametrize(
    ("name", "metrics", "word"),
    [
        ("fsaf_r101_fpn_1x_coco", {"box_ap": 39.3}, "37.9"),
        ("mask_rcnn_x101_32x8d_fpn_mstrain-poly_3x_coco", {"box_ap": 44.3, "mask_ap": 39.5}, "README"),
        ("mask_rcnn_r50_fpn_crop640_50e_coco", {"mask_ap": 35.6}, "implausible"),
        ("bbox_r50_grid_center_fpn_gn-neck+head_1x_coco", {"box_ap": 36.4}, "Wrong link"),
        ("centernet_resnet18_140e_coco", {"box_ap": 25.9, "box_ap_flip": 27.3}, "flip"),
        ("cornernet_hourglass104_mstest_8x6_210e_coco", {"box_ap": 41.2}, "flip at test time"),
        ("mask_rcnn_r50_fpn_gn-all_2x_coco", {"box_ap": 40.2, "mask_ap": 36.4}, "102.9801"),
    ],
)
def test_traps_are_corrected_and_noted(name, metrics, word):
    entry = api.get(name)
    assert next(iter(entry.metrics.values())) == metrics
    assert any(word in note for note in entry.notes)


def test_panoptic_quality_is_not_called_box_ap():
    for name in api.list_models(task="panoptic segmentation"):
        assert api.get(name).metric("pq") is not None


def test_flip_at_test_time_is_part_of_the_recipe():
    flipped = {name for name in PUBLISHED if api.preprocessing(name).flip}
    assert {api.get(name).family for name in flipped} == {"cornernet", "centripetalnet"}


def test_normalization_follows_the_configuration_and_not_the_backbone():
    assert api.get("mask_rcnn_regnetx-4GF_fpn_1x_coco").normalization == "imagenet_bgr"
    assert api.get("mask_rcnn_regnetx-4GF_fpn_mstrain-poly_3x_coco").normalization == "torchvision"
    assert api.get("yolox_s_8x8_300e_coco").normalization == "none"


# Versions


def test_the_version_changes_with_what_decides_results_only(tmp_path, monkeypatch):
    own = (
        "schema: 1\narchitectures:\n  mine: {base: ssd300_coco}\nmodels:\n  mine:\n    checkpoint: {file: a.pth}\n"
        "    dataset: coco_2017\n    normalization: ssd\n    preprocessing: stretch_300x300\n"
    )

    def version(text):
        path = tmp_path / "own.yaml"
        path.write_text(text)
        monkeypatch.setenv("ZOO_MANIFESTS", str(path))
        api._catalog.cache_clear()
        return api.version("mine")

    first = version(own)
    assert first.startswith("1-") and version(own + "    notes: [slow]\n") == first
    assert (
        len(
            {
                first,
                version(own.replace("coco}", "coco, backbone: {depth: 19}}")),
                version(own.replace("300x", "512x").replace("x300", "x512")),
            }
        )
        == 3
    )
    monkeypatch.undo()
    api._catalog.cache_clear()


# Mirrors


def test_mirrors_come_in_order_and_skip_what_they_lack():
    hosts = [re.match(r"https://([^/]+)/", url)[1] for url in api.get("faster_rcnn_r50").checkpoint.urls]
    assert hosts[:2] == ["mmassets.onedl.ai", "download.openmmlab.com"]
    assert not any("onedl" in url for url in api.get("mask2former_r50").checkpoint.urls)


def test_a_file_on_a_host_of_its_own_is_asked_for_there_first():
    first, *others = api.get("ssd300_coco_v1").checkpoint.urls
    assert first.startswith("https://s3.ap-northeast-2.amazonaws.com/")
    assert others == [
        "https://open-mmlab.oss-cn-beijing.aliyuncs.com/mmdetection/models/ssd300_coco_vgg16_caffe_120e_20181221-84d7110b.pth"
    ]


def test_a_host_with_certain_files_is_asked_for_those_only():
    hub = "https://huggingface.co/fcakyon/mmdet-yolox-tiny/resolve/main/"
    having = [name for name in PUBLISHED if any(url.startswith(hub) for url in api.get(name).checkpoint.urls)]
    assert having == ["yolox_tiny_8x8_300e_coco"]


def test_a_host_may_have_a_file_under_another_name():
    urls = api.get("faster_rcnn_r50_caffe_c4_1x_coco").checkpoint.urls
    assert (
        "https://download.openxlab.org.cn/models/mmdetection/FasterR-CNN/weight/faster-rcnn_r50-caffe-c4_1x_coco"
        in urls
    )


def test_backbones_and_logs_are_found_behind_a_prefix_too():
    archive = "https://web.archive.org/web/2025id_/https://download.openmmlab.com"
    backbone = api.catalog().backbone("open-mmlab://detectron2/resnet50_caffe")
    assert f"{archive}/pretrain/third_party/resnet50_msra-5891d200.pth" in api.catalog().urls(backbone.url)
    assert any(url.startswith(f"{archive}/mmdetection/v2.0/") for url in api.get("retinanet_r50").log_urls)


def test_only_what_the_living_mirror_is_documented_to_lack_is_passed_over():
    lacking = [name for name in PUBLISHED if not any("onedl" in url for url in api.get(name).checkpoint.urls)]
    families = [api.get(name).family for name in lacking if api.get(name).checkpoint.format != "mmdet-v3"]
    counts = {family: families.count(family) for family in set(families)}
    assert counts == {
        "mask2former": 10,
        "maskformer": 1,
        "deformable_detr": 2,
        "rfnext": 10,
        "legacy_1.x": 4,
        "panoptic_fpn": 1,
    }


# Other files


def test_eleven_models_have_another_file_of_the_same_weights():
    having = [api.get(name) for name in PUBLISHED if api.get(name).alternates]
    assert len(having) == 11
    assert all(file.format == "mmdet-v3" and f"{file.sha256}.pth" in file.path for e in having for file in e.alternates)


def test_substitutes_have_a_figure_and_a_license():
    stated = [other for name in PUBLISHED for other in api.get(name).substitutes]
    assert len(stated) > 30 and all(other.metrics and other.license for other in stated)
    (other, *_) = api.get("faster_rcnn_r50_caffe_c4_1x_coco").substitutes
    assert other.name == "detectron2/faster_rcnn_R_50_C4_1x" and other.metrics == {"box_ap": 35.7}


def test_whole_hashes_agree_with_the_digits_in_the_names():
    known = api.catalog()
    stated = [file for name in known.models if (file := api.get(name).checkpoint) and file.sha256]
    assert all(whole.startswith(file.sha256) for file in stated if (whole := known.sha256(file.path)))
    assert known.sha256(api.get("torchvision/retinanet_resnet50_fpn").checkpoint.path)


def test_a_log_is_published_by_the_original_host():
    entry = api.get("retinanet_r50_fpn_1x_coco")
    assert entry.log_url == (
        "https://download.openmmlab.com/mmdetection/v2.0/retinanet/retinanet_r50_fpn_1x_coco/"
        "retinanet_r50_fpn_1x_coco_20200130_002941.log.json"
    )
    assert entry.log_url in entry.log_urls


# Search


def test_conditions_are_combined():
    names = api.list_models("*r50*", family="retinanet", task="object detection", dataset="coco_2017")
    assert "retinanet_r50_fpn_1x_coco" in names and "retinanet_r101_fpn_1x_coco" not in names


def test_a_pattern_matches_aliases_too():
    assert api.list_models("yolox_[sl]") == ["yolox_l_8x8_300e_coco", "yolox_s_8x8_300e_coco"]


def test_configurations_without_weights_are_listed_on_request_only():
    assert "yolox_nano_8x8_300e_coco" not in api.list_models()
    assert "yolox_nano_8x8_300e_coco" in api.list_models(unpublished=True)
    assert api.get("yolox_nano_8x8_300e_coco").checkpoint is None


def test_listing_takes_less_than_0_4_seconds_in_a_new_process():
    def seconds():  # of the processor, so that a busy machine does not matter
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "zoo.cli.main", "list"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds() for _ in range(3)) < 0.4
