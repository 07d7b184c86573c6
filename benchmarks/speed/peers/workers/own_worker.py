"""Our side of `bench compare` in a process of its own, for its peak memory: a network of the zoo, or torchvision's.

config: `ours NAME`, or `torchvision NAME` for torchvision's detector on the inputs of our network NAME.
"""

from __future__ import annotations

from typing import Any

import torch
from serve import serve

import zoo
from zoo.checkpoint import read


class Detector:
    """A network on our inputs; `compute` is what is timed in the other process."""

    implementation, module = "detection-zoo", torch

    def __init__(self, request):
        kind, name = request["config"].split(" ", 1)
        self.device = torch.device(request["device"])
        if kind == "ours":
            self.model = zoo.load_file(request["weights"], name)
        else:
            self.model = theirs(name, request["weights"])
        self.model.to(self.device)
        self.preprocess: Any = self.model.preprocess

    def load(self, path):
        """The preprocessed sample of one image file."""
        sample = self.preprocess(path)
        return sample, sample.image.shape[1:]

    def compute(self, sample):
        """Detections on the CPU."""
        with torch.inference_mode():
            return self.model.predict(sample.image[None].to(self.device), [sample.geometry])[0].to("cpu")

    def rows(self, found):
        """Boxes, scores and labels as lists."""
        return found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()


def theirs(name, weights):
    """torchvision's detector with a file of its own names."""
    from benchmarks.speed.peers.counterparts import counterpart
    from benchmarks.speed.peers.torchvision import TorchvisionDetector

    network = TorchvisionDetector(counterpart(name, "torchvision"), zoo.build(name).preprocess)
    network.network.load_state_dict(read(weights).state_dict)
    return network


if __name__ == "__main__":
    serve(Detector)
