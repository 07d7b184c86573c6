"""Our side of `bench compare` in a process of its own, for its peak memory: a network of the zoo, or torchvision's.

config: `ours NAME`, or `torchvision NAME` for torchvision's detector on the inputs of our network NAME.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from serve import nothing_dropped, serve

import zoo
from zoo.checkpoint import read

ALL = 10**6  # samples that no sampler leaves out


class Detector:
    """A network on our inputs; `compute` is what is timed in the other process."""

    implementation, module = "detection-zoo", torch

    def __init__(self, request):
        kind, name = request["config"].split(" ", 1)
        self.kind, self.name = kind, name
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

    def rows(self, result):
        """Boxes, scores and labels as lists."""
        return result.boxes.tolist(), result.scores.tolist(), result.labels.tolist()

    def train(self, path, take_all):
        """Losses of a batch by name. take_all: let the samplers leave nothing out."""
        from benchmarks.speed.peers import training_batch

        self.batch = training_batch.read(Path(path), self.name).to(self.device)
        undo = self.as_trained(take_all)
        self.model.train()
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, lr=2.5e-6, momentum=0.9, weight_decay=0.0001)
        with nothing_dropped(self.model, take_all):
            losses = {name: float(total(value)) for name, value in self.model.losses(*self.batch).items()}
        undo()
        return losses

    def as_trained(self, take_all):
        """What torchvision freezes, and samplers that take everything; returns what gives these their limits back."""
        if self.kind == "torchvision":
            from benchmarks.speed.peers import torchvision

            torchvision.as_trained(self.model.network)
            return torchvision.sample_all(self.model.network) if take_all else lambda: None
        before = everything_sampled(self.model) if take_all else []

        def undo():
            for part, settings in before:
                part.train_cfg = settings

        return undo

    def step(self):
        """One iteration on the batch of `train`; returns the total loss."""
        loss = sum(total(value) for value in self.model.losses(*self.batch).values())
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss)


def total(loss):
    """A loss that may be several."""
    return sum(loss) if isinstance(loss, (list, tuple)) else loss


def everything_sampled(model):
    """Let all samplers take everything; returns (part, its settings before)."""
    before = []
    rpn = getattr(model, "rpn_head", None)
    for part in (
        rpn,
        *getattr(rpn, "stages", ()),
        getattr(model, "roi_head", None),
    ):  # a Cascade RPN's are in its stages
        if part is not None and getattr(part, "train_cfg", None):
            before.append((part, part.train_cfg))
            part.train_cfg = unlimited(part.train_cfg)
    return before


def unlimited(settings):
    """Training settings whose samplers take everything; those of a cascade are a list."""
    if isinstance(settings, (list, tuple)):
        return [unlimited(one) for one in settings]
    sampler = settings.get("sampler", {})
    return {**settings, "sampler": {**sampler, "num": ALL}} if "num" in sampler else settings


def theirs(name, weights):
    """torchvision's detector with a file of its own names."""
    from benchmarks.speed.peers.counterparts import counterpart
    from benchmarks.speed.peers.torchvision import TorchvisionDetector

    network = TorchvisionDetector(counterpart(name, "torchvision"), zoo.build(name).preprocess)
    network.network.load_state_dict(read(weights).state_dict)
    return network


if __name__ == "__main__":
    serve(Detector)
