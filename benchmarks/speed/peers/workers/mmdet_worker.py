"""MMDetection 2.x's side of `bench compare`: run by the Python that has mmdet, never imported by the harness."""

from __future__ import annotations

import os
from inspect import signature

import mmdet
import numpy as np
import torch
from serve import load_all, nothing_dropped, require, serve

require("mmdet", mmdet, "2.")

from mmcv import Config  # noqa: E402
from mmcv.parallel import DataContainer, collate, scatter  # noqa: E402
from mmcv.runner import load_checkpoint  # noqa: E402
from mmdet.apis import init_detector  # noqa: E402
from mmdet.core import BitmapMasks  # noqa: E402
from mmdet.datasets.pipelines import Compose, Normalize, Pad  # noqa: E402
from mmdet.models import build_detector  # noqa: E402

UNKNOWN = 255  # class of pixels that nothing is learned from


class Detector:
    """A model of MMDetection's zoo; `compute` is what its benchmark script times, boxes and masks in NumPy."""

    implementation, module = "mmdet", mmdet

    def __init__(self, request):
        torch.manual_seed(0)
        self.device = request["device"]
        self.config = find(request["config"])
        self.model = init_detector(self.config, None, device=self.device)
        if request.get("weights"):
            load_all(self.model, lambda: load_checkpoint(self.model, request["weights"], map_location="cpu"))
        self.pipeline = Compose(self.model.cfg.data.test.pipeline)

    def settings(self):
        """Thresholds and numbers, by the names that all implementations give them."""
        cfg = self.model.cfg
        size = next((step["img_scale"] for step in cfg.data.test.pipeline if "img_scale" in step), (0, 0))
        test = cfg.model.test_cfg
        last = test.get("rcnn", test)
        result = {"shorter_side": min(size), "longer_side": max(size), "detections": last.get("max_per_img")}
        result["score_threshold"], result["nms_iou"] = (
            last.get("score_thr"),
            (last.get("nms") or {}).get("iou_threshold"),
        )
        rpn = test.get("rpn")  # None where proposals are learned
        if rpn:
            result["candidates_per_level"], result["proposals"] = rpn.get("nms_pre"), rpn.get("max_per_img")
            result["proposal_nms_iou"] = rpn["nms"]["iou_threshold"]
        else:
            result["candidates_per_level"] = test.get("nms_pre")
        return result

    def train(self, path, take_all):
        """Losses of a batch by name. take_all: let the samplers leave nothing out."""
        content = np.load(path)
        images, metas = self.images(content)
        size = images.shape[2:]
        self.arguments = {"img": images.to(self.device), "img_metas": metas, **self.truth(content, *size)}
        self.model = self.trainable().train()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=2.5e-6, momentum=0.9, weight_decay=0.0001)
        before = everything_sampled(self.model) if take_all else []
        with nothing_dropped(self.model, take_all):
            losses = self.model._parse_losses(self.model(return_loss=True, **self.arguments))[1]
        for sampler, number in before:
            sampler.num = number
        return {name: float(value) for name, value in losses.items() if "loss" in name and name != "loss"}

    def images(self, content):
        """The batch (N, 3, H, W), its images normalized and padded by the pipeline's own steps, and their sizes."""
        steps = [step for step in built(self.pipeline) if isinstance(step, (Normalize, Pad))]
        results = [prepared(content[f"image{i}"], steps) for i in range(int(content["count"]))]
        height, width = (max(result["img"].shape[side] for result in results) for side in (0, 1))
        batch, metas = torch.zeros(len(results), 3, height, width), []
        for i, result in enumerate(results):
            image = torch.from_numpy(np.ascontiguousarray(result["img"].transpose(2, 0, 1)))
            batch[i, :, : image.shape[1], : image.shape[2]] = image
            # A MaskFormer learns from masks of the padded size, which must be one.
            padded = (height, width, 3) if hasattr(self.model, "panoptic_head") else result["img"].shape
            shape = result["img_shape"]
            metas.append({"img_shape": shape, "pad_shape": padded, "scale_factor": 1.0, "flip": False})
            metas[-1]["batch_input_shape"] = (height, width)
        return batch, metas

    def truth(self, content, height, width):
        """What is known about the images of a batch of height x width, as the network's `forward_train` takes it."""
        count = range(int(content["count"]))

        def tensors(key):
            return [torch.from_numpy(content[f"{key}{i}"]).to(self.device) for i in count]

        result = {"gt_bboxes": tensors("boxes")}
        if "gt_labels" in signature(self.model.forward_train).parameters:  # an RPN learns boxes alone
            result["gt_labels"] = tensors("labels")
        if getattr(self.model, "with_mask", False) or hasattr(self.model, "panoptic_head"):
            masks = [grown(content[f"masks{i}"], height, width) for i in count]
            result["gt_masks"] = [BitmapMasks(one.astype(np.uint8), height, width) for one in masks]
        if "semantic0" in content:
            stride = stride_of_maps(self.model.cfg.data.train)
            maps = np.stack([grown(content[f"semantic{i}"][None], height, width, UNKNOWN) for i in count])
            result["gt_semantic_seg"] = torch.from_numpy(maps[..., ::stride, ::stride]).long().to(self.device)
        if "proposals0" in content:
            result["proposals"] = tensors("proposals")
        return result

    def trainable(self):
        """The network with its training settings, which `init_detector` takes out of the configuration."""
        model = build_detector(Config.fromfile(self.config).model).to(self.device)
        model.load_state_dict(self.model.state_dict())
        return model

    def step(self):
        """One iteration on the batch of `train`; returns the total loss."""
        loss, _ = self.model._parse_losses(self.model(return_loss=True, **self.arguments))
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss)

    def load(self, path):
        """The collated batch of one image, on the CPU."""
        data = self.pipeline({"img_info": {"filename": path}, "img_prefix": None})
        data = collate([data], samples_per_gpu=1)
        data["img_metas"] = [metas.data[0] for metas in data["img_metas"]]
        if self.device == "cpu":
            data["img"] = [image.data[0] if isinstance(image, DataContainer) else image for image in data["img"]]
        return data, np.shape(data["img"][0])[-2:]

    def compute(self, data):
        """The reference's result for one image."""
        if self.device != "cpu":
            data = scatter(data, [torch.device(self.device).index or 0])[0]
        return self.model(return_loss=False, rescale=True, **data)[0]

    def rows(self, result):
        """Boxes, scores and labels as lists, best first."""
        per_class = result[0] if isinstance(result, tuple) else result
        labels = np.concatenate([np.full(len(boxes), label) for label, boxes in enumerate(per_class)])
        rows = np.concatenate(per_class)
        order = np.argsort(-rows[:, 4], kind="stable")
        rows, labels = rows[order], labels[order]
        return rows[:, :4].tolist(), rows[:, 4].tolist(), labels.astype(int).tolist()


def flat(pipeline):
    """The steps of a pipeline and of the pipelines inside them."""
    for step in pipeline:
        yield step
        yield from step.get("transforms", ())


def grown(maps, height, width, value=0):
    """Masks or classes of pixels (M, h, w) with a value below and to the right."""
    below = ((0, 0), (0, height - maps.shape[1]), (0, width - maps.shape[2]))
    return np.pad(maps, below, constant_values=value)


def stride_of_maps(train):
    """How many pixels apart those are whose classes the network learns, by the pipeline of its training set."""
    pipeline = train.get("pipeline") or train["dataset"]["pipeline"]
    scales = [step["scale_factor"] for step in flat(pipeline) if step["type"] == "SegRescale"]
    return round(1 / scales[0]) if scales else 1


def built(pipeline):
    """The transforms of a pipeline and of the pipelines inside them."""
    for step in pipeline.transforms:
        yield step
        yield from built(step.transforms) if hasattr(step, "transforms") else ()


def prepared(image, steps):
    """The results of transforms for an image (3, H, W), BGR from 0 to 255."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    result = {"img": pixels, "img_fields": ["img"], "img_shape": pixels.shape}
    for step in steps:
        result = step(result)
    return result


def everything_sampled(model):
    """Let all samplers take everything; returns (sampler, what it took before)."""
    rpn = getattr(model, "rpn_head", None)
    parts = [rpn, *getattr(rpn, "stages", ()), getattr(model, "roi_head", None)]  # a Cascade RPN's are in its stages
    samplers = [
        s for part in parts for s in as_list(getattr(part, "bbox_sampler", None) or getattr(part, "sampler", None))
    ]
    before = [(sampler, sampler.num) for sampler in samplers if hasattr(sampler, "num")]
    for sampler, _ in before:
        sampler.num = 10**7
    return before


def as_list(value):
    """A list of what may be one, several or none."""
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def find(config):
    """The configuration file: as given, in the installed package, or in the source checkout."""
    package = os.path.dirname(os.path.abspath(mmdet.__file__))
    for folder in ("", os.path.join(package, ".mim"), os.path.dirname(package)):
        if os.path.exists(os.path.join(folder, config)):
            return os.path.join(folder, config)
    raise FileNotFoundError(f"{config} is neither in mmdet's package nor beside it")


if __name__ == "__main__":
    serve(Detector)
