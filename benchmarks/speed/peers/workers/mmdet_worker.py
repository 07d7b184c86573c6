"""MMDetection 2.x's side of `bench compare`: run by the Python that has mmdet, never imported by the harness."""

from __future__ import annotations

import os

import mmdet
import numpy as np
import torch
from serve import load_all, require, serve

require("mmdet", mmdet, "2.")

from mmcv import Config  # noqa: E402
from mmcv.parallel import DataContainer, collate, scatter  # noqa: E402
from mmcv.runner import load_checkpoint  # noqa: E402
from mmdet.apis import init_detector  # noqa: E402
from mmdet.datasets.pipelines import Compose  # noqa: E402
from mmdet.models import build_detector  # noqa: E402


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
        if "rpn" in test:
            rpn = test["rpn"]
            result["candidates_per_level"], result["proposals"] = rpn.get("nms_pre"), rpn.get("max_per_img")
            result["proposal_nms_iou"] = rpn["nms"]["iou_threshold"]
        else:
            result["candidates_per_level"] = test.get("nms_pre")
        return result

    def train(self, path, take_all):
        """Losses of a batch by name. take_all: let the samplers leave nothing out."""
        content = np.load(path)
        norm = next(step for step in flat(self.model.cfg.data.test.pipeline) if step["type"] == "Normalize")
        count = int(content["count"])
        images = [normalized(content[f"image{i}"], norm) for i in range(count)]
        height, width = (multiple_of_32(max(image.shape[side] for image in images)) for side in (1, 2))
        batch = torch.zeros(count, 3, height, width)
        metas: list = []
        for i, image in enumerate(images):
            batch[i, :, : image.shape[1], : image.shape[2]] = image
            shape = (image.shape[1], image.shape[2], 3)
            padded = (*map(multiple_of_32, shape[:2]), 3)  # of the image alone, as its pipeline pads it
            metas.append({"img_shape": shape, "pad_shape": padded, "scale_factor": 1.0, "flip": False})
        self.arguments = {
            "img": batch.to(self.device),
            "img_metas": metas,
            "gt_bboxes": [torch.from_numpy(content[f"boxes{i}"]).to(self.device) for i in range(count)],
            "gt_labels": [torch.from_numpy(content[f"labels{i}"]).to(self.device) for i in range(count)],
        }
        if getattr(self.model, "with_mask", False):
            from mmdet.core import BitmapMasks

            masks = [grown(content[f"masks{i}"], height, width) for i in range(count)]
            self.arguments["gt_masks"] = [BitmapMasks(one.astype(np.uint8), height, width) for one in masks]
        self.model = self.trainable().train()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=2.5e-6, momentum=0.9, weight_decay=0.0001)
        before = everything_sampled(self.model) if take_all else []
        losses = self.model._parse_losses(self.model(return_loss=True, **self.arguments))[1]
        for sampler, number in before:
            sampler.num = number
        return {name: float(value) for name, value in losses.items() if name.startswith("loss_")}

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


def multiple_of_32(length):
    """The next multiple, to which the pipeline pads."""
    return -(-length // 32) * 32


def flat(pipeline):
    """The steps of a pipeline and of the pipelines inside them."""
    for step in pipeline:
        yield step
        yield from step.get("transforms", ())


def grown(masks, height, width):
    """Masks (M, h, w) with zeros below and to the right."""
    return np.pad(masks, ((0, 0), (0, height - masks.shape[1]), (0, width - masks.shape[2])))


def normalized(image, norm):
    """An image (3, H, W), BGR from 0 to 255, as the configuration normalizes it."""
    pixels = image[::-1] if norm["to_rgb"] else image
    mean, std = (np.array(norm[key], np.float32)[:, None, None] for key in ("mean", "std"))
    return torch.from_numpy(np.ascontiguousarray((pixels - mean) / std))


def everything_sampled(model):
    """Let all samplers take everything; returns (sampler, what it took before)."""
    parts = [getattr(model, "rpn_head", None), getattr(model, "roi_head", None)]
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
