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
from serve import load_all, serve


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

    def load(self, path):
        """The input dict of one source, resized as the configuration says."""
        source = read_image(path, format=self.cfg.INPUT.FORMAT)
        size = (self.cfg.INPUT.MIN_SIZE_TEST, self.cfg.INPUT.MIN_SIZE_TEST)
        resize = transforms.ResizeShortestEdge(size, self.cfg.INPUT.MAX_SIZE_TEST)
        image = resize.get_transform(source).apply_image(source)
        tensor = torch.as_tensor(np.ascontiguousarray(image.transpose(2, 0, 1).astype("float32")))
        return {"image": tensor, "height": source.shape[0], "width": source.shape[1]}, tensor.shape[1:]

    def compute(self, inputs):
        """Instances or proposals on the CPU."""
        found = self.model([inputs])[0]
        return (found["instances"] if "instances" in found else found["proposals"]).to("cpu")

    def rows(self, found):
        """Boxes, scores and labels as lists."""
        if found.has("pred_boxes"):
            return found.pred_boxes.tensor.tolist(), found.scores.tolist(), found.pred_classes.tolist()
        return found.proposal_boxes.tensor.tolist(), found.objectness_logits.sigmoid().tolist(), [0] * len(found)


if __name__ == "__main__":
    serve(Detector)
