"""MMDetection 2.x's side of `bench compare`: run by the Python that has mmdet, never imported by the harness."""

from __future__ import annotations

import os

import mmdet
import numpy as np
import torch
from mmcv.parallel import DataContainer, collate, scatter
from mmcv.runner import load_checkpoint
from mmdet.apis import init_detector
from mmdet.datasets.pipelines import Compose
from serve import load_all, serve


class Detector:
    """A model of MMDetection's zoo; `compute` is what its benchmark script times, boxes and masks in NumPy."""

    implementation, module = "mmdet", mmdet

    def __init__(self, request):
        torch.manual_seed(0)
        self.device = request["device"]
        self.model = init_detector(find(request["config"]), None, device=self.device)
        if request.get("weights"):
            load_all(self.model, lambda: load_checkpoint(self.model, request["weights"], map_location="cpu"))
        self.pipeline = Compose(self.model.cfg.data.test.pipeline)

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

    def rows(self, found):
        """Boxes, scores and labels as lists, best first."""
        per_class = found[0] if isinstance(found, tuple) else found
        labels = np.concatenate([np.full(len(boxes), label) for label, boxes in enumerate(per_class)])
        rows = np.concatenate(per_class)
        order = np.argsort(-rows[:, 4], kind="stable")
        rows, labels = rows[order], labels[order]
        return rows[:, :4].tolist(), rows[:, 4].tolist(), labels.astype(int).tolist()


def find(config):
    """The configuration file: as given, in the installed package, or in the source checkout."""
    package = os.path.dirname(os.path.abspath(mmdet.__file__))
    for folder in ("", os.path.join(package, ".mim"), os.path.dirname(package)):
        if os.path.exists(os.path.join(folder, config)):
            return os.path.join(folder, config)
    raise FileNotFoundError(f"{config} is neither in mmdet's package nor beside it")


if __name__ == "__main__":
    serve(Detector)
