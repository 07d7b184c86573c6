"""Detectron2's side of `bench compare`: run by the Python that has detectron2, never imported by the harness."""

from __future__ import annotations

import detectron2
import numpy as np
import torch
from detectron2 import model_zoo
from detectron2.checkpoint import DetectionCheckpointer
from detectron2.data import transforms
from detectron2.data.detection_utils import read_image
from detectron2.modeling import build_model
from detectron2.structures import BitMasks, Boxes, Instances, Keypoints
from detectron2.utils.events import EventStorage
from serve import load_all, nothing_dropped, require, serve

ALL = 10**7  # samples that no sampler leaves out
UNKNOWN = 255  # class of pixels that nothing is learned from


class Detector:
    """A model of Detectron2's zoo; `compute` is what its own benchmark times, from image to results."""

    implementation, module = "detectron2", detectron2

    def __init__(self, request):
        self.cfg = model_zoo.get_config(request["config"] + ".yaml", trained=False)
        self.cfg.MODEL.DEVICE = request["device"]
        torch.manual_seed(0)
        self.model = build_model(self.cfg).eval()
        if request.get("weights"):
            load_all(self.model, lambda: DetectionCheckpointer(self.model).load(request["weights"]))

    def settings(self):
        """Thresholds and numbers, by the names that all implementations give them."""
        model, size = self.cfg.MODEL, self.cfg.INPUT
        common = {
            "shorter_side": size.MIN_SIZE_TEST,
            "longer_side": size.MAX_SIZE_TEST,
            "detections": self.cfg.TEST.DETECTIONS_PER_IMAGE,
        }
        if model.META_ARCHITECTURE == "RetinaNet":
            head = model.RETINANET
            own = {
                "score_threshold": head.SCORE_THRESH_TEST,
                "nms_iou": head.NMS_THRESH_TEST,
                "candidates_per_level": head.TOPK_CANDIDATES_TEST,
            }
            return {**common, **own}
        heads, rpn = model.ROI_HEADS, model.RPN
        return {
            **common,
            "score_threshold": heads.SCORE_THRESH_TEST,
            "nms_iou": heads.NMS_THRESH_TEST,
            "candidates_per_level": rpn.PRE_NMS_TOPK_TEST,
            "proposals": rpn.POST_NMS_TOPK_TEST,
            "proposal_nms_iou": rpn.NMS_THRESH,
        }

    def load(self, path):
        """The input dict of one source, resized as the configuration says."""
        source = read_image(path, format=self.cfg.INPUT.FORMAT)
        size = (self.cfg.INPUT.MIN_SIZE_TEST, self.cfg.INPUT.MIN_SIZE_TEST)
        resize = transforms.ResizeShortestEdge(size, self.cfg.INPUT.MAX_SIZE_TEST)
        image = resize.get_transform(source).apply_image(source)
        tensor = torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1).astype("float32")))
        divisor = max(self.model.backbone.size_divisibility, 1)  # the model pads to its multiples
        shape = [-(-side // divisor) * divisor for side in tensor.shape[1:]]
        return {"image": tensor, "height": source.shape[0], "width": source.shape[1]}, shape

    def compute(self, inputs):
        """Instances or proposals on the CPU."""
        result = self.model([inputs])[0]
        return (result["instances"] if "instances" in result else result["proposals"]).to("cpu")

    def rows(self, result):
        """Boxes, scores and labels as lists."""
        if result.has("pred_boxes"):
            return result.pred_boxes.tensor.tolist(), result.scores.tolist(), result.pred_classes.tolist()
        return result.proposal_boxes.tensor.tolist(), result.objectness_logits.sigmoid().tolist(), [0] * len(result)

    def train(self, path, take_all):
        """Losses of a batch by name. take_all: let the samplers leave nothing out, and average over what they took."""
        self.inputs = training_inputs(path, self.cfg.MODEL)
        self.model.train()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=2.5e-6, momentum=0.9, weight_decay=0.0001)
        with EventStorage(), nothing_dropped(self.model, take_all):
            losses = self.all_losses() if take_all else self.model(self.inputs)
        return {name: float(value) for name, value in losses.items()}

    def all_losses(self):
        """Losses without sampling, averaged over what was learned from, as other implementations average them."""
        model = self.model
        taken: list = []
        if self.cfg.MODEL.META_ARCHITECTURE == "RetinaNet":
            model._ema_update = lambda name, value, *others, **more: value  # not averaged with earlier batches
            losses = model(self.inputs)
            del model._ema_update
            return losses
        rpn, heads = model.proposal_generator, model.roi_heads
        if rpn is None:  # Fast R-CNN
            return self.with_all_regions(heads)
        label, sizes = rpn.label_and_sample_anchors, (rpn.batch_size_per_image, heads.batch_size_per_image)

        def counted(*arguments):
            labels, boxes = label(*arguments)
            taken.extend(int((one >= 0).sum()) for one in labels)
            return labels, boxes

        rpn.label_and_sample_anchors, rpn.batch_size_per_image, heads.batch_size_per_image = counted, ALL, ALL
        losses = model(self.inputs)
        rpn.label_and_sample_anchors, (rpn.batch_size_per_image, heads.batch_size_per_image) = label, sizes
        scale = ALL * len(self.inputs) / sum(taken)
        return {name: value * scale if name.startswith("loss_rpn") else value for name, value in losses.items()}

    def with_all_regions(self, heads):
        """Losses of regions without sampling."""
        size, heads.batch_size_per_image = heads.batch_size_per_image, ALL
        losses = self.model(self.inputs)
        heads.batch_size_per_image = size
        return losses

    def step(self):
        """One iteration on the batch of `train`; returns the total loss."""
        with EventStorage():
            loss = sum(self.model(self.inputs).values())
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return float(loss)


def training_inputs(path, model):
    """The dicts of one training batch. model: the part of the configuration that says what is learned from."""
    content = np.load(path)
    return [training_input(content, i, model) for i in range(int(content["count"]))]


def training_input(content, i, model):
    """The dict of one image."""
    image = torch.from_numpy(content[f"image{i}"])
    instances = Instances(tuple(image.shape[1:]))
    instances.gt_boxes = Boxes(torch.from_numpy(content[f"boxes{i}"]))
    instances.gt_classes = torch.from_numpy(content[f"labels{i}"])
    if model.MASK_ON:
        instances.gt_masks = BitMasks(torch.from_numpy(content[f"masks{i}"]))
    if model.KEYPOINT_ON:
        instances.gt_keypoints = Keypoints(content[f"keypoints{i}"])
    result = {"image": image, "instances": instances}
    if f"semantic{i}" in content:
        result["sem_seg"] = things_first(torch.from_numpy(content[f"semantic{i}"]).long(), model.ROI_HEADS.NUM_CLASSES)
    if f"proposals{i}" in content:
        result["proposals"] = proposed(torch.from_numpy(content[f"proposals{i}"]), image)
    return result


def things_first(classes, things):
    """Classes of pixels, things before stuff, as Detectron2 numbers them: 0 for all things, stuff from 1 on."""
    stuff = torch.where(classes == UNKNOWN, UNKNOWN, classes - things + 1)
    return torch.where(classes < things, 0, stuff)


def proposed(boxes, image):
    """Proposals that are all equally good."""
    result = Instances(tuple(image.shape[1:]))
    result.proposal_boxes, result.objectness_logits = Boxes(boxes), torch.zeros(len(boxes))
    return result


if __name__ == "__main__":
    require("detectron2", detectron2, "0.")
    serve(Detector)
