"""Checkpoints as users have them, of both versions: the whole file becomes the right network, or one message."""

from __future__ import annotations

import sys
import types
from collections import OrderedDict
from dataclasses import replace

import pytest
import torch

import zoo
from tests.zoo.checkpoint import written_models as models
from tests.zoo.checkpoint.dialects import CLASSES, LOAD_V3, PACK_V3, dump, pipeline_v2, preprocessor_v3, v2, v3
from zoo.checkpoint.config.mmdet_config import describe
from zoo.errors import BuildError
from zoo.loading import build_from_meta
from zoo.manifest import api
from zoo.models.unsupported import unsupported
from zoo.preprocessing.recipe import Pad

CAFFE = {"mean": [102.9801, 115.9465, 122.7717], "std": [1.0, 1.0, 1.0]}
GRAY = {"type": "Pad", "pad_to_square": True, "pad_val": {"img": (114.0, 114.0, 114.0)}}
YOLOX_V3 = [LOAD_V3, {"type": "Resize", "scale": (640, 640), "keep_ratio": True}, GRAY, *PACK_V3]
SMALLER = {"random_size_range": (480, 800), "size_divisor": 32, "interval": 10, "type": "BatchSyncRandomResize"}
PLAIN_V3 = {"type": "DetDataPreprocessor", "pad_size_divisor": 32, "batch_augments": [SMALLER]}
OLD_YOLOX = {**models.YOLOX, "input_size": (640, 640), "random_size_range": (15, 25), "random_size_interval": 10}

WRITTEN = {
    "faster_rcnn_r50_fpn_1x_coco": (v2(models.FASTER_RCNN), v3(models.FASTER_RCNN)),
    "mask_rcnn_r50_fpn_1x_coco": (
        v2(models.MASK_RCNN),
        v3(models.MASK_RCNN, preprocessor=preprocessor_v3(pad_mask=True)),
    ),
    "cascade_rcnn_r50_fpn_1x_coco": (v2(models.CASCADE_RCNN), v3(models.CASCADE_RCNN)),
    "retinanet_r50_fpn_1x_coco": (v2(models.RETINANET), v3(models.RETINANET)),
    "fcos_r50_caffe_fpn_gn-head_1x_coco": (
        v2(models.FCOS, pipeline_v2(**CAFFE, to_rgb=False)),
        v3(models.FCOS, preprocessor=preprocessor_v3(**CAFFE, bgr_to_rgb=False)),
    ),
    "yolox_s_8x8_300e_coco": (
        v2(OLD_YOLOX, pipeline_v2((640, 640), None, pad=GRAY)),
        v3(models.YOLOX, YOLOX_V3, preprocessor=PLAIN_V3),
    ),
}


@pytest.mark.parametrize("key", ["config", "cfg"])
@pytest.mark.parametrize("name", WRITTEN)
def test_the_written_model_is_the_published_one_but_for_its_classes(name, key):
    result = describe({key: WRITTEN[name][key == "cfg"]}, unsupported)
    with torch.device("meta"):
        own, published = (
            {key: tuple(tensor.shape) for key, tensor in zoo.build(which).state_dict().items()}
            for which in (result.model, name)
        )
    assert own.keys() == published.keys()
    different = [key for key in own if own[key] != published[key]]
    assert different
    assert all(own[key][1:] == published[key][1:] for key in different)  # only rows, those of the classes
    assert result.classes == CLASSES
    settings = dict(result.model["test_cfg"])
    dense = "min_bbox_size" in settings
    assert (settings.pop("min_side", None) == 0) == (dense and key == "cfg")  # what only 3.x leaves out
    assert settings == api.architecture(name)["test_cfg"]


@pytest.mark.parametrize("key", ["config", "cfg"])
@pytest.mark.parametrize("name", WRITTEN)
def test_the_written_preprocessing_is_the_published_one(name, key):
    recipe = describe({key: WRITTEN[name][key == "cfg"]}).preprocessing
    expected = api.preprocessing(name).steps
    # 3.x counts what it pads as a part of the image, to which YOLOX does not clip its boxes.
    steps = [replace(step, part_of_image=False) if isinstance(step, Pad) else step for step in recipe.steps]
    assert steps[: len(expected)] == list(expected)
    assert all(step.divisor == 32 for step in steps[len(expected) :])  # of a square of 640 pixels: nothing


def test_a_fine_tuned_rtmdet_needs_no_name():
    result = build_from_meta({"cfg": v3(models.RTMDET), "dataset_meta": {"classes": CLASSES}}, [10**8] * 1000)
    assert result.bbox_head.num_classes == 3 and tuple(result.classes) == CLASSES


UNSUPPORTED = {
    **models.DINO,
    "type": "GLIP",
    "bbox_head": {**models.DINO["bbox_head"], "type": "ATSSVLFusionHead"},
}


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"cfg": v3(UNSUPPORTED)}, ["GLIP (model)", "ATSSVLFusionHead (model.bbox_head)"]),
        (
            {
                "config": "import own\n"
                + v2(
                    {**models.RETINANET, "neck": {"type": "OwnNeck"}, "backbone": {"type": "ResNet", "depht": 50}},
                    [{"type": "OwnLoader"}, {"type": "Resize", "scale": (8, 8)}, {"type": "OwnCrop"}],
                ).replace("max_per_img=100", "max_per_img=own.limit()")
            },
            ["OwnNeck (model.neck)", "ResNet's argument depht", "'OwnLoader', 'OwnCrop'", r"`model.test_cfg.max_per"],
        ),
    ],
    ids=["GLIP", "own code"],
)
def test_everything_that_is_not_here_is_listed_in_one_message(meta, names):
    with pytest.raises(BuildError) as caught:
        describe(meta, unsupported)
    message = str(caught.value)
    assert all(name in message for name in names)
    assert "\n" not in message
    assert "OwnMixup" not in message and "OwnHook" not in message  # what only training needs is nobody's business


def test_no_published_architecture_asks_for_what_is_not_here():
    result = {name: unsupported(api.architecture(name)) for name in api.architecture_names()}
    assert {name: phrases for name, phrases in result.items() if phrases} == {}


def test_a_description_that_lacks_a_part_is_a_sentence():
    with pytest.raises(BuildError, match="DETR is not described as expected: 'encoder' is missing"):
        describe(
            {"cfg": v3({"type": "DETR", "backbone": models.resnet(), "bbox_head": {"type": "DETRHead"}})}, unsupported
        )


def test_what_a_trained_loss_left_in_the_text_is_understood():
    text = v2(models.RETINANET).replace(
        "use_sigmoid=True", "class_weight=tensor([1.0, 1.0, 1.0, 0.1]), use_sigmoid=True"
    )
    assert describe({"config": text}, unsupported).model["bbox_head"]["loss_cls"]["class_weight"] == [
        1.0,
        1.0,
        1.0,
        0.1,
    ]


def test_printed_functions_and_classes_do_not_break_the_text():
    extra = "collate = dict(fn=<function collate at 0x7f00aa>, kind=<class 'own.Kind'>)\n"
    assert describe({"config": extra + v2(models.RETINANET)}, unsupported).classes == CLASSES


def test_types_as_python_modules_of_version_3_name_them():
    replaced = {
        "'FasterRCNN'": "'mmdet.models.detectors.faster_rcnn.FasterRCNN'",
        "'BN'": "'torch.nn.BatchNorm2d'",
        "type='nms'": "type='mmcv.ops.nms'",
        "'RoIAlign'": "'mmcv.ops.RoIAlign'",
        "'PackDetInputs'": "'mmdet.datasets.transforms.PackDetInputs'",
    }
    text = v3(models.FASTER_RCNN)
    for old, new in replaced.items():
        text = text.replace(old, new)
    assert describe({"cfg": text}, unsupported).model == describe({"cfg": v3(models.FASTER_RCNN)}, unsupported).model


TINY = {
    **models.YOLOX,
    "backbone": {"type": "CSPDarknet", "deepen_factor": 0.33, "widen_factor": 0.125},
    "neck": {"type": "YOLOXPAFPN", "in_channels": [32, 64, 128], "out_channels": 16, "num_csp_blocks": 1},
    "bbox_head": {"type": "YOLOXHead", "num_classes": 3, "in_channels": 16, "feat_channels": 16},
}


class HistoryBuffer:
    """Stands for the class of whose objects 3.x's runner saves some."""

    def __init__(self):
        self.log = [1.0]


@pytest.fixture
def runner_objects(monkeypatch):
    """Makes `HistoryBuffer` pickle under the name that it has where MMEngine is installed."""
    name = "mmengine.logging.history_buffer"
    for part in ("mmengine", "mmengine.logging", name):
        monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
    sys.modules[name].HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    monkeypatch.setattr(HistoryBuffer, "__module__", name)
    return {"log_scalars": {"train/loss": HistoryBuffer()}, "runtime_info": {"epoch": 3}, "resumed_keys": {}}


def network():
    torch.manual_seed(0)
    return zoo.build(TINY)


def equal(model, other):
    return all(torch.equal(tensor, other.state_dict()[name]) for name, tensor in model.state_dict().items())


def test_a_file_of_the_runner_of_version_3_gives_its_averaged_weights(tmp_path, runner_objects):
    model = network()
    state = model.state_dict()
    raw = {"steps": torch.tensor(9), **{f"module.{name}": torch.zeros_like(value) for name, value in state.items()}}
    meta = {
        "cfg": v3(TINY, YOLOX_V3, preprocessor=PLAIN_V3),
        "dataset_meta": {"classes": CLASSES, "palette": [(1, 2, 3)]},
    }
    optimizer = {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    record = {"meta": meta, "state_dict": state, "ema_state_dict": raw, "message_hub": runner_objects}
    torch.save({**record, "optimizer": optimizer}, tmp_path / "epoch_3.pth")
    loaded = zoo.load_file(tmp_path / "epoch_3.pth")
    assert equal(loaded, model)
    assert loaded.classes == CLASSES


def test_a_file_of_distributed_training_with_version_2_and_its_second_copy_of_the_weights(tmp_path):
    model = network()
    state = OrderedDict((f"module.{name}", value) for name, value in model.state_dict().items())
    second = {f"module.ema_{name.replace('.', '_')}": torch.zeros_like(v) for name, v in model.state_dict().items()}
    meta = {"config": v2(TINY, pipeline_v2((640, 640), None, pad=GRAY)), "CLASSES": CLASSES, "PALETTE": [(1, 2, 3)] * 3}
    torch.save({"meta": {**meta, "mmdet_version": "2.28.2"}, "state_dict": {**state, **second}}, tmp_path / "x.pth")
    assert equal(zoo.load_file(tmp_path / "x.pth"), model)


def test_classes_of_the_file_hold_even_under_a_name(tmp_path):
    model = zoo.build("yolox_nano_8x8_300e_coco")
    names = tuple(f"class {number}" for number in range(80))
    torch.save({"meta": {"CLASSES": names}, "state_dict": model.state_dict()}, tmp_path / "x.pth")
    assert zoo.load_file(tmp_path / "x.pth", "yolox_nano_8x8_300e_coco").classes == names


def test_a_dump_is_what_it_was_written_from():
    assert "model = dict(\n    type='A', sizes=(1, 2, ))\n" in dump(model={"type": "A", "sizes": (1, 2)})
