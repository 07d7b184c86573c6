"""Export: a graph detects what its network detects, at other sizes too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import zoo
from zoo.errors import UsageError
from zoo.export import export, runtimes
from zoo.export.difference import difference
from zoo.export.extras import extra
from zoo.structures import Sample

pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")

RPN = {
    "type": "RPNHead",
    "in_channels": 16,
    "feat_channels": 16,
    "anchor_generator": {
        "type": "AnchorGenerator",
        "scales": [4],
        "ratios": [0.5, 1.0, 2.0],
        "strides": [4, 8, 16, 32],
    },
}
BACKBONE = {"type": "ResNet", "depth": 18, "base_channels": 8, "out_indices": [0, 1, 2, 3]}
NECK = {"type": "FPN", "in_channels": [8, 16, 32, 64], "out_channels": 16, "num_outs": 4}
EXTRACTOR = {
    "type": "SingleRoIExtractor",
    "roi_layer": {"type": "RoIAlign", "output_size": 7, "sampling_ratio": 2},
    "out_channels": 16,
    "featmap_strides": [4, 8, 16, 32],
}
NMS = {"type": "nms", "iou_threshold": 0.5}
RETINA = {
    "type": "RetinaNet",
    "backbone": BACKBONE,
    "neck": NECK,
    "bbox_head": {
        "type": "RetinaHead",
        "num_classes": 3,
        "in_channels": 16,
        "feat_channels": 16,
        "stacked_convs": 1,
        "anchor_generator": {"type": "AnchorGenerator", "scales": [4], "ratios": [1.0], "strides": [4, 8, 16, 32]},
        "loss_cls": {"type": "FocalLoss"},
    },
    "test_cfg": {"nms_pre": 100, "score_thr": 0.001, "nms": NMS, "max_per_img": 20},
}
MASK_RCNN = {
    "type": "MaskRCNN",
    "backbone": BACKBONE,
    "neck": NECK,
    "rpn_head": RPN,
    "roi_head": {
        "type": "StandardRoIHead",
        "bbox_roi_extractor": EXTRACTOR,
        "bbox_head": {"type": "Shared2FCBBoxHead", "in_channels": 16, "fc_out_channels": 32, "num_classes": 3},
        "mask_roi_extractor": {**EXTRACTOR, "roi_layer": {"type": "RoIAlign", "output_size": 14, "sampling_ratio": 2}},
        "mask_head": {
            "type": "FCNMaskHead",
            "num_convs": 1,
            "in_channels": 16,
            "conv_out_channels": 8,
            "num_classes": 3,
        },
    },
    "test_cfg": {
        "rpn": {"nms_pre": 50, "max_per_img": 30, "nms": {"type": "nms", "iou_threshold": 0.7}, "min_bbox_size": 0},
        "rcnn": {"score_thr": 0.05, "nms": NMS, "max_per_img": 10, "mask_thr_binary": 0.5},
    },
}


def network(description):
    """A small network whose outputs differ from place to place."""
    torch.manual_seed(0)
    model = zoo.build(description)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=(0.7 / parameter[0].numel()) ** 0.5)
    model.preprocess = lambda image: image
    return model


def sample(height: int, width: int, seed: int = 0) -> Sample:
    image = torch.from_numpy(np.random.default_rng(seed).normal(size=(3, height, width)).astype(np.float32))
    return Sample(image, (height, width), (1.0, 1.0), (height, width))


@pytest.mark.parametrize("description", [RETINA, MASK_RCNN], ids=["RetinaNet", "MaskRCNN"])
def test_a_graph_detects_what_its_network_detects_at_other_sizes_too(description, tmp_path):
    model = network(description)
    path = export.to_onnx(model, tmp_path / "model.onnx", sample(64, 96))
    exported = runtimes.OnnxDetector(path, model)
    result = difference(model, exported, [sample(64, 96), sample(96, 64, 1), sample(128, 128, 2)])
    assert result.detections > 10
    assert result.matched > 0.95 and result.score < 1e-4
    assert not model.training
    want, have = model.detect([sample(64, 96)])[0], exported.detect([sample(64, 96)])[0]
    if want.masks is not None:
        assert have.masks is not None and (want.masks == have.masks).float().mean() > 0.99


@pytest.mark.parametrize("description", [RETINA, MASK_RCNN], ids=["RetinaNet", "MaskRCNN"])
def test_a_program_of_torch_export_is_the_network_at_any_size(description, tmp_path):
    model = network(description)
    exported = runtimes.ProgramDetector(export.to_program(model, tmp_path / "m.pt2", sample(64, 96)), model)
    assert exported.shape[2:] == [None, None]
    result = difference(model, exported, [sample(64, 96), sample(96, 64, 1), sample(128, 128, 2)])
    assert result.detections > 10
    assert result.matched == 1.0 and result.score < 1e-5 and result.box < 1e-2
    assert [path.name for path in tmp_path.iterdir()] == ["m.pt2"]


@pytest.mark.parametrize(
    "description, kind",
    [(RETINA, "onnx"), (MASK_RCNN, "onnx"), (MASK_RCNN, "program")],
    ids=["RetinaNet, ONNX", "Mask R-CNN, ONNX", "Mask R-CNN, program"],
)
def test_images_with_one_detection_or_none_are_no_error(description, kind, tmp_path):
    model, faint = network(description), sample(96, 64, 1)
    head = model.roi_head if description is MASK_RCNN else model.bbox_head
    head.test_cfg = {**head.test_cfg, "score_thr": float(model.detect([faint])[0].scores[:2].mean())}
    many, none = sample(96, 64, 1), sample(96, 64, 1)
    many.image *= 3
    none.image *= 0.5
    exported = written(kind, model, tmp_path, many)
    for image, count in ((many, 2), (faint, 1), (none, 0)):
        result = difference(model, exported, [image])
        assert result.matched == 1.0 and min(result.detections, 2) == count


def written(kind, model, folder, example):
    """The exported network, as a detector."""
    if kind == "onnx":
        return runtimes.OnnxDetector(export.to_onnx(model, folder / "m.onnx", example), model)
    return runtimes.ProgramDetector(export.to_program(model, folder / "m.pt2", example), model)


@pytest.mark.parametrize("kind", ["onnx", "program"])
def test_padding_is_no_part_of_the_image(kind, tmp_path):
    model, image = network(MASK_RCNN), sample(64, 96)
    image.image[:, 50:], image.image[:, :, 70:] = 0, 0
    image.size = image.original_size = (50, 70)
    exported = written(kind, model, tmp_path, sample(64, 64))
    assert difference(model, exported, [image]).matched == 1.0
    detections = exported.detect([image])[0]
    assert len(detections) > 2 and detections.boxes[:, 2].max() <= 70 and detections.boxes[:, 3].max() <= 50
    assert detections.masks.shape == (len(detections), 50, 70)


def test_a_program_for_one_size_is_made_where_more_is_impossible_and_says_so(tmp_path):
    class Stubborn(type(network(RETINA))):
        """Depends on the size of the image."""

        def features(self, images):
            return super().features(images * (2.0 if images.shape[3] == 96 else 1.0))

    model = network(RETINA)
    model.__class__ = Stubborn
    exported = written("program", model, tmp_path, sample(64, 96))
    assert exported.shape[2:] == [64, 96]
    assert difference(model, exported, [sample(64, 96)]).matched == 1.0
    with pytest.raises(UsageError, match="for inputs of 64 x 96"):
        exported.detect([sample(96, 64)])


def test_a_checkpoints_shared_memory_is_no_obstacle(tmp_path):
    """Tensors of a checkpoint of several types can be views of one block of memory."""
    model = network(RETINA)
    block = torch.zeros(1 << 20, dtype=torch.uint8)
    start = 0
    for value in model.state_dict(keep_vars=True).values():
        part = block[start : start + value.numel() * value.element_size()].view(value.dtype).view(value.shape)
        part.copy_(value.data)
        value.data, start = part, start + (part.numel() * part.element_size() + 63) // 64 * 64
    exported = written("program", model, tmp_path, sample(64, 96))
    assert difference(model, exported, [sample(96, 64, 1)]).matched == 1.0


def test_what_cannot_be_exported_is_said_and_leaves_nothing(tmp_path):
    class Other(torch.nn.Module):
        pass

    with pytest.raises(export.ExportError, match="Other cannot be exported"):
        export.to_onnx(Other(), tmp_path / "model.onnx", sample(64, 64))  # type: ignore[arg-type]
    with pytest.raises(export.ExportError, match="Other cannot be exported"):
        export.to_program(Other(), tmp_path / "model.pt2", sample(64, 64))  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_onnxruntime_cannot_run_is_said(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"nothing")
    with pytest.raises(export.ExportError, match=r"onnxruntime .* cannot run .*m\.onnx"):
        runtimes.OnnxDetector(path, network(RETINA))


def test_a_missing_library_is_said(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(UsageError, match="onnxruntime"):
        extra("onnxruntime")
