"""Ultralytics' detectors by their own code, for `bench accuracy ultralytics:MODEL`; the contract is in `serve.py`.

config: what `ultralytics.YOLO` takes: a weights file such as yolo11n.pt, or a description such as yolo11n.yaml.
Settings are those of their validation: score threshold 0.001, NMS at IoU 0.7, at most 300 detections.
"""

import sys
from contextlib import redirect_stdout

import cv2
from serve import require, serve

with redirect_stdout(sys.stderr):  # its first import in an environment announces a settings file
    import ultralytics

SETTINGS = {"conf": 0.001, "iou": 0.7, "max_det": 300}


class Detector:
    """`load` reads and letterboxes, `compute` is the network and what follows it."""

    implementation, module = "ultralytics", ultralytics

    def __init__(self, request):
        import numpy as np

        self.yolo = ultralytics.YOLO(request["config"])
        first = np.full((480, 640, 3), 127, np.uint8)
        self.yolo.predict(first, device=request["device"], verbose=False, save=False, **SETTINGS)  # makes a predictor
        self.predictor, self.model = self.yolo.predictor, self.yolo.model
        self.labels = [self.yolo.names[key] for key in sorted(self.yolo.names)]

    def load(self, path):
        """The network's input, and the image that results refer to."""
        image = cv2.imread(path)
        if image is None:
            raise ValueError(path + " does not decode as an image")
        self.predictor.batch = ([path], [image], [""])
        tensor = self.predictor.preprocess([image])
        return (path, image, tensor), tensor.shape[2:]

    def compute(self, loaded):
        """Their results on the CPU."""
        path, image, tensor = loaded
        self.predictor.batch = ([path], [image], [""])
        return self.predictor.postprocess(self.predictor.inference(tensor), tensor, [image])[0].cpu()

    def rows(self, result):
        """Boxes, scores and labels as lists."""
        boxes = result.boxes
        return boxes.xyxy.tolist(), boxes.conf.tolist(), [int(label) for label in boxes.cls.tolist()]

    def classes(self):
        """Names of the labels."""
        return self.labels

    def settings(self):
        """What decides how many detections there are."""
        return SETTINGS


if __name__ == "__main__":
    require("ultralytics", ultralytics, "8.")
    serve(Detector)
